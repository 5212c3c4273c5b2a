// What holds for any system of flows, on 1,000 systems drawn from seeds. No oracle is needed for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include "tests/sim/network/network_driver.hpp"
#include "tests/sim/network/random_flows.hpp"

namespace foretoken::sim {
namespace {

constexpr std::uint64_t kCases = 1000;
constexpr double kClose = 1e-9;

struct Load {
  double taken = 0;  // of the resource, per second
  double top = 0;    // largest rate / weight on it
};

std::vector<Load> loads(const FlowSet& set, const std::vector<double>& rate) {
  std::vector<Load> load(set.capacity.size());
  for (std::size_t f = 0; f < rate.size(); ++f) {
    for (const auto& [resource, amount] : uses_of(set, f)) {
      Load& one = load[static_cast<std::size_t>(resource)];
      one.taken += amount * rate[f];
      one.top = std::max(one.top, rate[f] / set.flows[f].weight);
    }
  }
  return load;
}

std::vector<double> rates(FlowNetwork& network, const std::vector<char>& active) {
  std::vector<double> rate(active.size(), 0);
  for (std::size_t f = 0; f < active.size(); ++f)
    if (active[f] != 0) rate[f] = network.rate_of(static_cast<std::int32_t>(f));
  return rate;
}

// Both ways of run_flows, each by its name.
void for_both(const FlowSet& set, const std::function<void(const std::vector<double>&)>& check) {
  for (const bool merge : {false, true}) {
    SCOPED_TRACE(merge ? "merging symmetric flows" : "every flow by itself");
    check(run_flows(set, {.merge_symmetric = merge}).completion.each());
  }
}

void expect_equal(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t f = 0; f < expected.size(); ++f)
    ASSERT_NEAR(found[f], expected[f], kClose * expected[f]) << "flow " << f;
}

// Rates are constant between two events, so looking once in each interval, at a random instant, sees all of them.
//   feasible:  no flow above its ceiling, no resource above its capacity;
//   max-min:   every flow is at its ceiling, or on a full resource on which nobody has more per weight;
//   bytes:     the integral of each flow's rate is its demand.
TEST(FlowProperties, RatesAreMaxMinFairAtAllTimesAndCarryTheDemand) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    std::mt19937_64 random(seed);
    std::vector<double> carried(set.flows.size(), 0);
    std::vector<double> clock(set.flows.size(), 0);  // what the last digits of the times are worth
    FlowNetwork network(set.capacity);
    drive(network, set, [&](FlowNetwork& moving, double to, const std::vector<char>& active) {
      const double from = moving.now();
      moving.advance(from + std::uniform_real_distribution<double>(0, 1)(random) * (to - from));
      const std::vector<double> rate = rates(moving, active);
      const std::vector<Load> load = loads(set, rate);
      for (std::size_t r = 0; r < load.size(); ++r)
        ASSERT_LE(load[r].taken, set.capacity[r] * (1 + kClose)) << "resource " << r << " at " << moving.now();
      for (std::size_t f = 0; f < rate.size(); ++f) {
        if (active[f] == 0) continue;
        carried[f] += rate[f] * (to - from);
        clock[f] += rate[f] * to * 4 * std::numeric_limits<double>::epsilon();
        const TimedFlow& flow = set.flows[f];
        ASSERT_LE(rate[f], flow.ceiling * (1 + kClose)) << "flow " << f << " at " << moving.now();
        if (rate[f] >= flow.ceiling * (1 - kClose)) continue;
        const auto uses = uses_of(set, f);
        const bool has_bottleneck = std::any_of(uses.begin(), uses.end(), [&](const ResourceUse& use) {
          const auto r = static_cast<std::size_t>(use.resource);
          return load[r].taken >= set.capacity[r] * (1 - kClose) && rate[f] / flow.weight >= load[r].top * (1 - kClose);
        });
        ASSERT_TRUE(has_bottleneck) << "flow " << f << " could have more at " << moving.now();
      }
    });
    double demands = 0;
    for (std::size_t f = 0; f < carried.size(); ++f) {
      ASSERT_NEAR(carried[f], set.flows[f].demand, kClose * set.flows[f].demand + clock[f]) << "flow " << f;
      demands += set.flows[f].demand;
    }
    ASSERT_NEAR(network.delivered(), demands, kClose * demands);
  }
}

// A resource cannot be done before it has carried its load at full capacity from its first flow's start on; nor a flow
// before it has run at its ceiling, or alone.
TEST(FlowProperties, NothingEndsBeforeItsLowerBound) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    for_both(set, [&](const std::vector<double>& completion) {
      const double makespan = *std::max_element(completion.begin(), completion.end());
      std::vector<double> load(set.capacity.size(), 0);
      std::vector<double> first(set.capacity.size(), std::numeric_limits<double>::infinity());
      for (std::size_t f = 0; f < completion.size(); ++f) {
        const TimedFlow& flow = set.flows[f];
        double alone = flow.ceiling;
        for (const auto& [resource, amount] : uses_of(set, f)) {
          const auto r = static_cast<std::size_t>(resource);
          load[r] += amount * flow.demand;
          first[r] = std::min(first[r], flow.start);
          alone = std::min(alone, set.capacity[r] / amount);
        }
        ASSERT_GE(completion[f], (flow.start + flow.demand / alone) * (1 - kClose)) << "flow " << f;
      }
      for (std::size_t r = 0; r < load.size(); ++r) {
        if (load[r] == 0) continue;
        ASSERT_GE(makespan, (load[r] / set.capacity[r] + first[r]) * (1 - kClose)) << "resource " << r;
      }
    });
  }
}

TEST(FlowProperties, OtherNamesGiveTheSameTimes) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    std::mt19937_64 random(seed);
    const auto shuffled = [&](std::size_t count) {
      std::vector<std::size_t> names(count);
      std::iota(names.begin(), names.end(), std::size_t{0});
      std::shuffle(names.begin(), names.end(), random);
      return names;
    };
    const std::vector<std::size_t> resource_name = shuffled(set.capacity.size());
    const std::vector<std::size_t> old_flow = shuffled(set.flows.size());
    FlowSet renamed;
    renamed.capacity.resize(set.capacity.size());
    for (std::size_t r = 0; r < set.capacity.size(); ++r) renamed.capacity[resource_name[r]] = set.capacity[r];
    for (const std::size_t f : old_flow) {
      TimedFlow flow = set.flows[f];
      flow.uses_begin = static_cast<std::int32_t>(renamed.uses.size());
      for (const auto& [resource, amount] : uses_of(set, f)) {
        const std::size_t name = resource_name[static_cast<std::size_t>(resource)];
        renamed.uses.push_back({static_cast<std::int32_t>(name), amount});
      }
      flow.uses_end = static_cast<std::int32_t>(renamed.uses.size());
      std::reverse(renamed.uses.begin() + flow.uses_begin, renamed.uses.end());
      renamed.flows.push_back(flow);
    }
    const std::vector<double> before = run_flows(set).completion.each();
    std::vector<double> expected;
    for (const std::size_t f : old_flow) expected.push_back(before[f]);
    for_both(renamed, [&](const std::vector<double>& completion) { expect_equal(completion, expected); });
  }
}

// Half the weight at the same level is half the rate; half the ceiling stops it at the same level.
TEST(FlowProperties, TwoHalvesOfAFlowEndWhenItDoes) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    FlowSet set = random_flows(seed);
    const std::vector<double> before = run_flows(set).completion.each();
    std::vector<double> expected = before;
    std::mt19937_64 random(seed);
    const std::size_t count = set.flows.size();
    for (std::size_t f = 0; f < count; ++f) {
      if (std::uniform_int_distribution<int>(0, 2)(random) != 0) continue;
      TimedFlow& flow = set.flows[f];
      flow.demand /= 2;
      flow.weight /= 2;
      flow.ceiling /= 2;
      const TimedFlow half = flow;  // over the same uses
      set.flows.push_back(half);
      expected.push_back(before[f]);
    }
    for_both(set, [&](const std::vector<double>& completion) { expect_equal(completion, expected); });
  }
}

TEST(FlowProperties, TimesAreInverseToBandwidth) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    FlowSet set = random_flows(seed);
    for (TimedFlow& flow : set.flows) flow.start = 0;  // latencies do not scale
    std::vector<double> expected = run_flows(set).completion.each();
    std::mt19937_64 random(seed);
    const double factor = std::pow(10.0, std::uniform_real_distribution<double>(-3, 3)(random));
    for (double& time : expected) time /= factor;
    for (double& capacity : set.capacity) capacity *= factor;
    for (TimedFlow& flow : set.flows) flow.ceiling *= factor;
    for_both(set, [&](const std::vector<double>& completion) { expect_equal(completion, expected); });
  }
}

// Systems that share no resource do not notice each other: one beside its copy, and beside another one.
TEST(FlowProperties, SystemsSideBySideKeepTheirTimes) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    FlowSet all;
    std::vector<double> expected;
    for (const std::uint64_t part : {seed, seed + 1, seed}) {
      const FlowSet set = random_flows(part);
      const auto first_resource = static_cast<std::int32_t>(all.capacity.size());
      const auto first_use = static_cast<std::int32_t>(all.uses.size());
      all.capacity.insert(all.capacity.end(), set.capacity.begin(), set.capacity.end());
      for (const ResourceUse& use : set.uses) all.uses.push_back({first_resource + use.resource, use.amount});
      for (TimedFlow flow : set.flows) {
        flow.uses_begin += first_use;
        flow.uses_end += first_use;
        all.flows.push_back(flow);
      }
      const std::vector<double> alone = run_flows(set).completion.each();
      expected.insert(expected.end(), alone.begin(), alone.end());
    }
    for_both(all, [&](const std::vector<double>& completion) { expect_equal(completion, expected); });
  }
}

// A resource with more than all of its users can take together, each with the rest for itself, never fills.
TEST(FlowProperties, AResourceThatNeverFillsChangesNothing) {
  for (const std::uint64_t seed : seeds(kCases)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    const FlowSet set = random_flows(seed);
    FlowSet wide;
    wide.capacity = set.capacity;
    wide.capacity.push_back(0);
    for (std::size_t f = 0; f < set.flows.size(); ++f) {
      TimedFlow flow = set.flows[f];
      double alone = flow.ceiling;
      flow.uses_begin = static_cast<std::int32_t>(wide.uses.size());
      for (const ResourceUse& use : uses_of(set, f)) {
        wide.uses.push_back(use);
        alone = std::min(alone, set.capacity[static_cast<std::size_t>(use.resource)] / use.amount);
      }
      wide.uses.push_back({static_cast<std::int32_t>(set.capacity.size()), 1.0});
      flow.uses_end = static_cast<std::int32_t>(wide.uses.size());
      wide.flows.push_back(flow);
      wide.capacity.back() += 1.5 * alone;
    }
    const std::vector<double> expected = run_flows(set).completion.each();
    for_both(wide, [&](const std::vector<double>& completion) { expect_equal(completion, expected); });
  }
}

// An exchange of one size among all ranks, isolated, each node with its own leaf: all flows between nodes start at one
// time and have one level throughout, so the tightest resource is full from then on until the end, and
//
//   makespan = max over resources of (load / capacity + smallest start on it).
TEST(FlowProperties, AnIsolatedUniformExchangeTakesWhatItsTightestResourceTakes) {
  for (const std::uint64_t seed : seeds(kCases / 5)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    std::mt19937_64 random(seed);
    const auto uniform = [&](double low, double high) {
      return std::uniform_real_distribution<double>(low, high)(random);
    };
    const std::int32_t gpus = 1 + static_cast<std::int32_t>(seed % 4);
    const std::int32_t nodes = 2 + static_cast<std::int32_t>(seed / 4 % 4);
    const std::int32_t ranks = gpus * nodes;
    const double inside_start = uniform(0, 1);
    const double between_start = uniform(0, 1);
    const double bytes = uniform(0.1, 10);
    FlowSet set;
    set.capacity.assign(static_cast<std::size_t>(2 * ranks), uniform(1, 10));                               // NVLink
    set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * ranks), uniform(1, 10));           // NIC
    set.capacity.insert(set.capacity.end(), static_cast<std::size_t>(2 * nodes), gpus * uniform(0.5, 10));  // trunk
    for (std::int32_t i = 0; i < ranks; ++i) {
      for (std::int32_t j = 0; j < ranks; ++j) {
        if (i == j) continue;
        const bool inside = i / gpus == j / gpus;
        TimedFlow flow;
        flow.start = inside ? inside_start : between_start;
        flow.demand = bytes;
        flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
        const std::int32_t first = inside ? 0 : 2 * ranks;
        set.uses.push_back({first + 2 * i, 1.0});
        set.uses.push_back({first + 2 * j + 1, 1.0});
        if (!inside) {
          set.uses.push_back({4 * ranks + 2 * (i / gpus), 1.0});
          set.uses.push_back({4 * ranks + 2 * (j / gpus) + 1, 1.0});
        }
        flow.uses_end = static_cast<std::int32_t>(set.uses.size());
        set.flows.push_back(flow);
      }
    }
    const double from_a_rank = (ranks - gpus) * bytes;
    const double expected =
        std::max({(gpus - 1) * bytes / set.capacity[0] + (gpus > 1 ? inside_start : 0),
                  from_a_rank / set.capacity[static_cast<std::size_t>(2 * ranks)] + between_start,
                  gpus * from_a_rank / set.capacity[static_cast<std::size_t>(4 * ranks)] + between_start});
    for_both(set, [&](const std::vector<double>& completion) {
      ASSERT_NEAR(*std::max_element(completion.begin(), completion.end()), expected, kClose * expected);
    });
  }
}

}  // namespace
}  // namespace foretoken::sim
