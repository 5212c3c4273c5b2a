#include "tools/planning/consistent.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "core/error.hpp"

namespace foretoken::planning {
namespace {

constexpr std::array<std::string_view, 3> kInCommon{"model", "routing", "workload"};
constexpr std::string_view kOfTheDeployment = "workload.sequences";

/// "workload.context" of "workload.context=128".
std::string_view field_of(std::string_view assignment) { return assignment.substr(0, assignment.find('=')); }

/// Whether one is the other, or within it.
bool overlap(std::string_view a, std::string_view b) {
  const auto [outer, inner] = std::minmax(a, b, [](auto x, auto y) { return x.size() < y.size(); });
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '.');
}

std::set<std::string_view> fields_of(const plan::OpenChoice& choice) {
  std::set<std::string_view> fields;
  for (const plan::OpenOption& option : choice.options)
    for (const std::string& assignment : option.assignments) fields.insert(field_of(assignment));
  return fields;
}

Error error_at(const std::string& file, const std::string& found, const char* expected) {
  return input_error(file, "/open_choices", found, expected);
}

void require_different_options(const std::string& file, const plan::OpenChoice& choice) {
  for (std::size_t o = 0; o < choice.options.size(); ++o)
    for (std::size_t other = 0; other < o; ++other) {
      const plan::OpenOption &one = choice.options[other], &two = choice.options[o];
      if (one.label == two.label || one.assignments == two.assignments)
        throw error_at(
            file, fmt::format("options \"{}\" and \"{}\" of \"{}\" are the same", one.label, two.label, choice.name),
            "keep one of them, as each combination is counted");
    }
}

void require_different_fields(const std::string& file, const plan::OpenChoice& a, const plan::OpenChoice& b) {
  for (const std::string_view x : fields_of(a))
    for (const std::string_view y : fields_of(b))
      if (overlap(x, y))
        throw error_at(file, fmt::format("\"{}\" assigns {}, and \"{}\" assigns {}", a.name, x, b.name, y),
                       "make them one choice, whose options assign all that belongs together");
}

}  // namespace

void require_independent(const std::string& file, const std::vector<plan::OpenChoice>& choices) {
  for (std::size_t c = 0; c < choices.size(); ++c) {
    require_different_options(file, choices[c]);
    for (std::size_t other = 0; other < c; ++other) require_different_fields(file, choices[other], choices[c]);
  }
}

void require_one_workload(const std::string& file, const std::vector<plan::OpenChoice>& own) {
  for (const plan::OpenChoice& choice : own)
    for (const std::string_view field : fields_of(choice)) {
      const bool in_common =
          std::any_of(kInCommon.begin(), kInCommon.end(), [&](auto part) { return overlap(part, field); });
      if (in_common && field != kOfTheDeployment)
        throw error_at(
            file,
            fmt::format("\"{}\" assigns {}, and the other deployment does not have this choice with the same "
                        "options",
                        choice.name, field),
            "give baseline and method the same choice, with the same labels: they serve one model and one "
            "workload");
    }
}

}  // namespace foretoken::planning
