#include "tools/planning/choices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.hpp"

namespace foretoken::planning {

std::vector<std::string> Combination::assignments(const std::vector<plan::OpenChoice>& choices) const {
  std::vector<std::string> all;
  for (std::size_t c = 0; c < choices.size(); ++c) {
    const auto& some = choices[c].options[option[c]].assignments;
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::string Combination::label(const std::vector<plan::OpenChoice>& choices) const {
  std::string text;
  for (std::size_t c = 0; c < choices.size(); ++c) {
    const std::string& name = choices[c].name;
    const std::size_t dot = name.rfind('.');
    text += fmt::format("{}{}={}", c == 0 ? "" : " ", dot == std::string::npos ? name : name.substr(dot + 1),
                        choices[c].options[option[c]].label);
  }
  return text;
}

Combination in_force(const JsonDocument& scenario, const std::vector<plan::OpenChoice>& choices) {
  Combination found;
  for (const plan::OpenChoice& choice : choices) {
    std::size_t index = 0;
    for (; index < choice.options.size(); ++index) {
      JsonDocument changed = JsonDocument::from_text(scenario.json().dump(), scenario.name());
      for (const std::string& assignment : choice.options[index].assignments) changed.set(assignment);
      if (changed.json() == scenario.json()) break;
    }
    if (index == choice.options.size())
      throw input_error(scenario.name(), "/open_choices",
                        fmt::format("no option of \"{}\" is the one in force", choice.name),
                        "add the scenario's own value to its options, or take back the --set that changed it");
    found.option.push_back(index);
  }
  return found;
}

std::vector<Combination> neighbours(const std::vector<plan::OpenChoice>& choices, const Combination& base) {
  std::vector<Combination> all;
  for (std::size_t c = 0; c < choices.size(); ++c) {
    for (std::size_t option = 0; option < choices[c].options.size(); ++option) {
      if (option == base.option[c]) continue;
      all.push_back(base);
      all.back().option[c] = option;
    }
  }
  return all;
}

std::vector<Combination> all_combinations(const std::vector<plan::OpenChoice>& choices, std::size_t most) {
  std::size_t count = 1;
  for (const plan::OpenChoice& choice : choices) {
    count *= choice.options.size();
    if (count > most)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("the open choices have more than {} combinations; give some of them fewer options", most));
  }
  std::vector<Combination> all;
  for (std::size_t i = 0; i < count; ++i) {
    Combination combination{std::vector<std::size_t>(choices.size())};
    std::size_t rest = i;
    for (std::size_t c = choices.size(); c-- > 0;) {
      combination.option[c] = rest % choices[c].options.size();
      rest /= choices[c].options.size();
    }
    all.push_back(std::move(combination));
  }
  return all;
}

std::vector<Outcome> evaluate(std::size_t count, const std::function<Sample(std::size_t)>& sample) {
  std::vector<Outcome> outcomes(count);
  std::vector<std::exception_ptr> failures(count);
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        outcomes[i].sample = sample(i);
      } catch (const Error& error) {
        // What cannot be is a result; a defect of ours is not.
        if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible)
          outcomes[i].error = error.what();
        else failures[i] = std::current_exception();
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  const std::size_t threads = std::min<std::size_t>(std::max(1U, std::thread::hardware_concurrency()), count);
  std::vector<std::jthread> pool;
  for (std::size_t t = 0; t < threads; ++t) pool.emplace_back(work);
  pool.clear();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return outcomes;
}

}  // namespace foretoken::planning
