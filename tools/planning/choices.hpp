// What a scenario would give under each of the choices that its description leaves open.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "core/json_reader.hpp"
#include "plan/scenario/scenario.hpp"
#include "tools/planning/sample.hpp"

namespace foretoken::planning {

/// One way to settle all open choices of a scenario: an option of each.
struct Combination {
  std::vector<std::size_t> option;  // [choice] index of the option

  /// As --set takes them, in order of the choices.
  [[nodiscard]] std::vector<std::string> assignments(const std::vector<plan::OpenChoice>& choices) const;
  /// "top_k=1 gated=false": last part of each choice's name, and the option's label.
  [[nodiscard]] std::string label(const std::vector<plan::OpenChoice>& choices) const;
};

/// The options that the document has in force: those whose assignments leave it as it is.
/// @throws Error{invalid_input} if a choice has no such option
Combination in_force(const JsonDocument& scenario, const std::vector<plan::OpenChoice>& choices);

/// Every combination that differs from `base` in exactly one choice.
std::vector<Combination> neighbours(const std::vector<plan::OpenChoice>& choices, const Combination& base);

/// Every combination, first choice slowest. @throws Error{invalid_input} if there are more than `most`
std::vector<Combination> all_combinations(const std::vector<plan::OpenChoice>& choices, std::size_t most);

/// What one combination gives, or why it cannot be.
struct Outcome {
  Sample sample;
  std::string error;  // empty if it ran
  [[nodiscard]] bool ran() const { return error.empty(); }
};

/// Asks for samples 0 to count - 1 on all cores; results in order, the same for any number of threads.
/// @throws what `sample` throws unless it is an Error{invalid_input} or Error{infeasible}: those are outcomes
std::vector<Outcome> evaluate(std::size_t count, const std::function<Sample(std::size_t)>& sample);

}  // namespace foretoken::planning
