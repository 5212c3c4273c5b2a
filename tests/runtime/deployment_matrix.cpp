#include "tests/runtime/deployment_matrix.hpp"

#include <fmt/format.h>

#include <set>
#include <utility>

namespace foretoken::test {
namespace {

using Pair = std::pair<std::pair<std::size_t, std::size_t>, std::pair<std::size_t, std::size_t>>;

std::vector<Pair> pairs_of(const Combination& combination) {
  std::vector<Pair> pairs;
  for (std::size_t a = 0; a < combination.size(); ++a)
    for (std::size_t b = a + 1; b < combination.size(); ++b)
      pairs.push_back({{a, combination[a]}, {b, combination[b]}});
  return pairs;
}

}  // namespace

std::vector<Combination> all_combinations(const std::vector<Factor>& factors, const Possible& possible) {
  std::vector<Combination> all;
  Combination next(factors.size(), 0);
  for (;;) {
    if (possible(next)) all.push_back(next);
    std::size_t factor = factors.size();
    while (factor > 0 && ++next[factor - 1] == factors[factor - 1].size()) next[--factor] = 0;
    if (factor == 0) return all;
  }
}

std::vector<Combination> pairwise(const std::vector<Factor>& factors, const Possible& possible) {
  const std::vector<Combination> all = all_combinations(factors, possible);
  std::set<Pair> apart;
  for (const Combination& one : all)
    for (const Pair& pair : pairs_of(one)) apart.insert(pair);
  std::vector<Combination> chosen;
  while (!apart.empty()) {
    const Combination* best = nullptr;
    std::size_t most = 0;
    for (const Combination& one : all) {
      std::size_t meet = 0;
      for (const Pair& pair : pairs_of(one)) meet += apart.count(pair);
      if (meet <= most) continue;
      most = meet;
      best = &one;
    }
    chosen.push_back(*best);
    for (const Pair& pair : pairs_of(*best)) apart.erase(pair);
  }
  return chosen;
}

std::string name_of(const std::vector<Factor>& factors, const Combination& combination) {
  std::string name;
  for (std::size_t f = 0; f < factors.size(); ++f) name += (f == 0 ? "" : "_") + factors[f][combination[f]].name;
  return name;
}

std::vector<std::string> settings_of(const std::vector<Factor>& factors, const Combination& combination) {
  std::vector<std::string> settings;
  for (std::size_t f = 0; f < factors.size(); ++f) {
    const auto& of_level = factors[f][combination[f]].settings;
    settings.insert(settings.end(), of_level.begin(), of_level.end());
  }
  return settings;
}

Factor dispatch_modes() {
  Factor modes;
  for (const char* mode : {"planned", "capacity", "exact"})
    modes.push_back({mode, {fmt::format("deployment.experts.dispatch_mode={}", mode)}});
  modes.push_back({"once_per_node", {R"(deployment.collectives={"exchange":"hierarchical"})"}});
  return modes;
}

Factor overlaps(int chunks) {
  return {{"none", {}},
          {"two_batch", {"deployment.micro_batches=2", "deployment.overlap=two_batch"}},
          {"micro_stages", {"deployment.overlap=micro_stages", fmt::format("deployment.chunks={}", chunks)}}};
}

}  // namespace foretoken::test
