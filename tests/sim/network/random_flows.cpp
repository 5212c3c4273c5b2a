#include "tests/sim/network/random_flows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>

namespace foretoken::sim {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  int below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  bool one_in(int n) { return below(n) == 0; }
  double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_); }
  double decades(double low, double high) { return std::pow(10.0, uniform(low, high)); }
  double one_of(const std::vector<double>& values) {
    return values[static_cast<std::size_t>(below(static_cast<int>(values.size())))];
  }

 private:
  std::mt19937_64 random_;
};

void add(FlowSet& set, TimedFlow flow, const std::vector<ResourceUse>& uses) {
  flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
  set.uses.insert(set.uses.end(), uses.begin(), uses.end());
  flow.uses_end = static_cast<std::int32_t>(set.uses.size());
  set.flows.push_back(flow);
}

// Up to `most` different resources.
std::vector<ResourceUse> path(Draw& draw, int resources, int most) {
  std::vector<std::int32_t> all(static_cast<std::size_t>(resources));
  std::iota(all.begin(), all.end(), 0);
  std::vector<ResourceUse> uses;
  for (int hop = 1 + draw.below(most); hop > 0 && !all.empty(); --hop) {
    const int pick = draw.below(static_cast<int>(all.size()));
    uses.push_back({all[static_cast<std::size_t>(pick)], 1.0});
    all.erase(all.begin() + pick);
  }
  return uses;
}

FlowSet distinct(Draw& draw, int scale) {
  FlowSet set;
  const int resources = 1 + draw.below(10 * scale);
  for (int r = 0; r < resources; ++r) set.capacity.push_back(draw.uniform(0.5, 3));
  for (int left = 1 + draw.below(30 * scale); left > 0; --left) {
    TimedFlow flow;
    flow.start = draw.one_in(3) ? 0.0 : draw.uniform(0, 8);
    flow.demand = draw.uniform(0.05, 3);
    flow.weight = draw.one_in(2) ? 1.0 : draw.decades(-2, 2);
    std::vector<ResourceUse> uses = path(draw, resources, 4);
    for (ResourceUse& use : uses)
      if (draw.one_in(3)) use.amount = draw.uniform(0.1, 2);
    if (draw.one_in(12)) uses.clear();
    if (uses.empty() || draw.one_in(4)) flow.ceiling = draw.uniform(0.05, 1);
    add(set, flow, uses);
  }
  return set;
}

FlowSet few_values(Draw& draw, int scale) {
  FlowSet set;
  const int resources = 1 + draw.below(12 * scale);
  for (int r = 0; r < resources; ++r) set.capacity.push_back(draw.one_of({1, 1, 2, 4}));
  for (int left = 1 + draw.below(40 * scale); left > 0; --left) {
    TimedFlow flow;
    flow.start = draw.below(3);
    flow.demand = draw.one_of({1, 1, 2, 1.0 / 3, 1 + 1e-8});  // the last one ends just after the first
    flow.weight = draw.one_of({1, 1, 1, 2});
    std::vector<ResourceUse> uses = path(draw, resources, 3);
    for (ResourceUse& use : uses) use.amount = draw.one_of({1, 1, 0.5});
    if (draw.one_in(5)) flow.ceiling = draw.one_of({0.25, 0.5});
    add(set, flow, uses);
  }
  return set;
}

FlowSet far_apart(Draw& draw, int scale) {
  FlowSet set;
  const int resources = 2 + draw.below(8 * scale);
  for (int r = 0; r < resources; ++r) set.capacity.push_back(draw.decades(-6, 6));
  const bool comparable = draw.one_in(2);
  for (int left = 1 + draw.below(25 * scale); left > 0; --left) {
    TimedFlow flow;
    flow.start = draw.one_in(2) ? 0.0 : draw.decades(-6, 2);
    flow.weight = draw.one_in(2) ? 1.0 : draw.decades(-3, 3);
    const std::vector<ResourceUse> uses = path(draw, resources, 3);
    double alone = std::numeric_limits<double>::infinity();
    for (const ResourceUse& use : uses) alone = std::min(alone, set.capacity[static_cast<std::size_t>(use.resource)]);
    if (draw.one_in(4)) flow.ceiling = alone * draw.decades(-3, 1);
    flow.demand = comparable ? alone * draw.uniform(0.1, 2) : draw.decades(-6, 6);
    add(set, flow, uses);
  }
  return set;
}

FlowSet exchange(Draw& draw, int scale) {
  FlowSet set;
  const int nodes = 2 + draw.below(1 + 2 * scale);
  const int gpus = 1 + draw.below(3);
  const int ranks = nodes * gpus;
  const double nic = draw.one_of({1, 2, 3});
  set.capacity.assign(static_cast<std::size_t>(2 * ranks), nic * draw.one_of({1, 4}));
  set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * ranks), nic);
  set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * nodes), 0.5 * nic * gpus);
  const bool tree = draw.one_in(2);
  const std::vector<double> sizes = draw.one_in(2) ? std::vector<double>{1} : std::vector<double>{1, 2, 5};
  const int period = 1 + draw.below(3);
  const double ceiling = draw.one_in(2) ? 0.3 * nic : std::numeric_limits<double>::infinity();
  const int odd = draw.one_in(2) ? draw.below(ranks * ranks) : -1;
  for (int i = 0; i < ranks; ++i) {
    for (int j = 0; j < ranks; ++j) {
      if (i == j) continue;
      const bool inside = i / gpus == j / gpus;
      TimedFlow flow;
      flow.start = inside ? 0.25 : 0.5;
      flow.demand = sizes[static_cast<std::size_t>((i + 2 * j) % period) % sizes.size()];
      flow.ceiling = ceiling;
      if (i * ranks + j == odd) flow.weight = 1.5;
      const std::int32_t first = inside ? 0 : 2 * ranks;
      std::vector<ResourceUse> uses{{first + 2 * i, 1.0}, {first + 2 * j + 1, 1.0}};
      if (tree && !inside) {
        uses.push_back({4 * ranks + 2 * (i / gpus), 1.0});
        uses.push_back({4 * ranks + 2 * (j / gpus) + 1, 1.0});
      }
      add(set, flow, uses);
    }
  }
  return set;
}

}  // namespace

FlowSet random_flows(std::uint64_t seed, int scale) {
  Draw draw(seed);
  switch (seed % 4) {
    case 0: return distinct(draw, scale);
    case 1: return few_values(draw, scale);
    case 2: return far_apart(draw, scale);
    default: return exchange(draw, scale);
  }
}

std::vector<std::uint64_t> seeds(std::uint64_t count) {
  if (const char* one = std::getenv("FORETOKEN_SEED")) return {std::stoull(one)};  // NOLINT(concurrency-mt-unsafe)
  std::vector<std::uint64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::string replay(std::uint64_t seed) {
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  return "seed " + std::to_string(seed) + "; again: FORETOKEN_SEED=" + std::to_string(seed) +
         " build/dev/foretoken_sim_test --gtest_filter=" + test->test_suite_name() + "." + test->name();
}

}  // namespace foretoken::sim
