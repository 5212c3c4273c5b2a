#include "tools/planning/matching.hpp"

#include <algorithm>
#include <utility>

namespace foretoken::planning {
namespace {

bool alike(const plan::OpenChoice& a, const plan::OpenChoice& b) {
  return a.name == b.name && std::equal(a.options.begin(), a.options.end(), b.options.begin(), b.options.end(),
                                        [](const auto& x, const auto& y) { return x.label == y.label; });
}

bool has(const std::vector<plan::OpenChoice>& choices, const plan::OpenChoice& choice) {
  return std::any_of(choices.begin(), choices.end(), [&](const auto& other) { return alike(other, choice); });
}

std::size_t position(const std::vector<plan::OpenChoice>& choices, const plan::OpenChoice& choice) {
  const auto found =
      std::find_if(choices.begin(), choices.end(), [&](const auto& other) { return other.name == choice.name; });
  return static_cast<std::size_t>(found - choices.begin());
}

}  // namespace

Matching::Matching(std::vector<std::vector<plan::OpenChoice>> scenarios) : all_(std::move(scenarios)) {
  for (const plan::OpenChoice& choice : all_.front())
    if (std::all_of(all_.begin(), all_.end(), [&](const auto& choices) { return has(choices, choice); }))
      shared_.push_back(choice);
  for (const auto& choices : all_) {
    own_.emplace_back();
    for (const plan::OpenChoice& choice : choices)
      if (!has(shared_, choice)) own_.back().push_back(choice);
  }
}

Combination Matching::join(std::size_t scenario, const Combination& shared, const Combination& own) const {
  Combination joined;
  for (const plan::OpenChoice& choice : all_[scenario]) {
    const bool is_shared = has(shared_, choice);
    joined.option.push_back(is_shared ? shared.option[position(shared_, choice)]
                                      : own.option[position(own_[scenario], choice)]);
  }
  return joined;
}

}  // namespace foretoken::planning
