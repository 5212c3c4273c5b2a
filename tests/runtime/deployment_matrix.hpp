// Deployments, dispatch modes, overlaps and routings, and which of their combinations to try.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace foretoken::test {

/// One value of one factor, as --set takes it.
struct Level {
  std::string name;
  std::vector<std::string> settings;
};
using Factor = std::vector<Level>;

/// One level of each factor, by index.
using Combination = std::vector<std::size_t>;
/// Whether a scenario may say all of these at once.
using Possible = std::function<bool(const Combination&)>;

std::vector<Combination> all_combinations(const std::vector<Factor>& factors, const Possible& possible);

/// Few possible combinations among which every two levels of different factors meet, if any possible combination has
/// both. Greedy: each next one is that with the most pairs that have not met yet, the first of equal ones.
std::vector<Combination> pairwise(const std::vector<Factor>& factors, const Possible& possible);

std::string name_of(const std::vector<Factor>& factors, const Combination& combination);
std::vector<std::string> settings_of(const std::vector<Factor>& factors, const Combination& combination);

/// Of a scenario with exchange "dispatch": the three modes, and once_per_node (hierarchical, planned).
Factor dispatch_modes();
/// none, two_batch and micro_stages with `chunks` chunks.
Factor overlaps(int chunks);

}  // namespace foretoken::test
