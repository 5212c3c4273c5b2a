// Classes of symmetric flows: what may be merged, what may not, and that merging changes no time.
#include "sim/network/symmetry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "sim/network/equitable.hpp"
#include "tests/sim/network/all_to_all_classes.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"
#include "tests/sim/network/random_flows.hpp"

namespace foretoken::sim {
namespace {

void add_flow(FlowSet& set, TimedFlow flow, const std::vector<ResourceUse>& uses) {
  flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
  set.uses.insert(set.uses.end(), uses.begin(), uses.end());
  flow.uses_end = static_cast<std::int32_t>(set.uses.size());
  set.flows.push_back(flow);
}

// Four links in a ring, and a flow over each two neighbours.
FlowSet ring() {
  FlowSet set{{2, 2, 2, 2}, {}, {}};
  for (std::int32_t i = 0; i < 4; ++i) add_flow(set, {1, 3, 1, 5, 0, 0}, {{i, 1}, {(i + 1) % 4, 1}});
  return set;
}

FlowPartition partition(std::vector<std::int32_t> flows, std::vector<std::int32_t> resources) {
  return {Classes(std::move(flows)), Classes(std::move(resources))};
}

TEST(IsEquitable, SaysYesToWhatIsAlike) {
  EXPECT_TRUE(is_equitable({}, {}));
  EXPECT_TRUE(is_equitable({{1, 1}, {}, {}}, partition({}, {0, 0})));
  EXPECT_TRUE(is_equitable(ring(), partition({0, 0, 0, 0}, {0, 0, 0, 0})));
  EXPECT_TRUE(is_equitable(ring(), partition({0, 1, 0, 1}, {0, 0, 0, 0})));
  EXPECT_TRUE(is_equitable(ring(), partition({0, 1, 2, 3}, {0, 1, 2, 3})));
}

TEST(IsEquitable, SaysNoToOneThatIsNot) {
  const std::vector<std::pair<const char*, std::function<void(FlowSet&)>>> changes{
      {"capacity", [](FlowSet& set) { set.capacity[2] = 3; }},
      {"start", [](FlowSet& set) { set.flows[2].start = 0; }},
      {"demand", [](FlowSet& set) { set.flows[2].demand = 4; }},
      {"weight", [](FlowSet& set) { set.flows[2].weight = 2; }},
      {"ceiling", [](FlowSet& set) { set.flows[2].ceiling = 6; }},
      {"amount", [](FlowSet& set) { set.uses[4].amount = 2; }},
      {"resource", [](FlowSet& set) { set.uses[4].resource = 0; }},
      {"fewer resources", [](FlowSet& set) { --set.flows[2].uses_end; }},
      {"more resources", [](FlowSet& set) { ++set.flows[2].uses_end; }}};
  for (const auto& [what, change] : changes) {
    FlowSet set = ring();
    change(set);
    EXPECT_FALSE(is_equitable(set, partition({0, 0, 0, 0}, {0, 0, 0, 0}))) << what;
  }
  // Each flow class is on two links of its own, or on two of the three of a class once and on the third twice.
  EXPECT_FALSE(is_equitable(ring(), partition({0, 0, 1, 1}, {0, 0, 0, 0})));
  EXPECT_FALSE(is_equitable(ring(), partition({0, 0, 0, 0}, {0, 0, 0, 1})));
  EXPECT_FALSE(is_equitable(ring(), partition({0, 1, 2, 3}, {0, 0, 0, 0})));
}

// Two flows over two links by 1 and by 2: crosswise, every link is used by 1 and by 2; else one by 1 and 1, and one by
// 2 and 2, though either link is used by as many flows and either flow uses as much.
TEST(IsEquitable, TellsAmountsApart) {
  for (const bool crosswise : {true, false}) {
    FlowSet set{{1, 1}, {}, {}};
    add_flow(set, {}, {{0, 1}, {1, 2}});
    add_flow(set, {}, {{crosswise ? 1 : 0, 1}, {crosswise ? 0 : 1, 2}});
    EXPECT_EQ(is_equitable(set, partition({0, 0}, {0, 0})), crosswise);
    std::swap(set.uses[2], set.uses[3]);  // the order in which a flow names its resources says nothing
    EXPECT_EQ(is_equitable(set, partition({0, 0}, {0, 0})), crosswise);
  }
}

TEST(FindClasses, FindsTheClassesOfAnAllToAll) {
  for (const AllToAllCase& exchange :
       {AllToAllCase{64, 0, 'U'}, AllToAllCase{64, 2, 'U'}, AllToAllCase{64, 0, 'K'}, AllToAllCase{64, 2, 'K'}}) {
    const auto found = find_classes(all_to_all_flows(exchange));
    ASSERT_TRUE(found.has_value());
    EXPECT_LE(found->quotient.flows.size(), flow_classes(exchange).size()) << exchange.workload;
  }
  EXPECT_FALSE(find_classes(all_to_all_flows({64, 0, 'Z'})).has_value());
}

// What is merged is summed as others are, so that last digits differ; by up to 2e-12 on the drawn systems below.
void expect_same_times(const std::vector<double>& found, const std::vector<double>& expected, double within) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t f = 0; f < found.size(); ++f)
    ASSERT_NEAR(found[f], expected[f], within * expected[f]) << "flow " << f;
}

// Of the flows of an exchange of one size, two exchange their destinations. If both are inside nodes, every NVLink has
// seven flows like before, and all of them still take what they took: no time tells them apart. If only one is, either
// takes an NVLink and a NIC, though every link has as many flows as before: 0 -> 1 must now wait for a NIC's.
TEST(FindClasses, TellsSwappedDestinationsApartWhereItMatters) {
  const FlowSet exchange = all_to_all_flows({32, 0, 'U'});
  const std::vector<double> before = run_flows(exchange, {.merge_symmetric = false}).completion.each();
  const auto to = [](std::size_t i, std::size_t j) { return 2 * (31 * i + j - (j > i ? 1 : 0)) + 1; };

  FlowSet set = exchange;
  std::swap(set.uses[to(0, 1)].resource, set.uses[to(9, 10)].resource);
  EXPECT_EQ(run_flows(set).classes, 2);
  expect_same_times(run_flows(set, {.merge_symmetric = false}).completion.each(), before, 1e-12);
  expect_same_times(run_flows(set).completion.each(), before, 1e-12);

  set = exchange;
  std::swap(set.uses[to(0, 1)].resource, set.uses[to(9, 30)].resource);
  EXPECT_GT(run_flows(set).classes, 2);
  const std::vector<double> expected = run_flows(set, {.merge_symmetric = false}).completion.each();
  EXPECT_GT(expected[0], 2 * before[0]);
  expect_same_times(run_flows(set).completion.each(), expected, 1e-12);
}

FlowSet copies_of(const FlowSet& set, std::int32_t copies, std::mt19937_64& random) {
  FlowSet all;
  for (const double capacity : set.capacity)
    all.capacity.insert(all.capacity.end(), static_cast<std::size_t>(copies), capacity);
  for (const TimedFlow& flow : set.flows) {
    std::vector<ResourceUse> uses(set.uses.begin() + flow.uses_begin, set.uses.begin() + flow.uses_end);
    std::vector<std::int32_t> shift(uses.size());
    for (std::int32_t& by : shift) by = std::uniform_int_distribution<std::int32_t>(0, copies - 1)(random);
    for (std::int32_t copy = 0; copy < copies; ++copy) {
      std::vector<ResourceUse> moved;
      for (std::size_t u = 0; u < uses.size(); ++u)
        moved.push_back({copies * uses[u].resource + (copy + shift[u]) % copies, uses[u].amount});
      if (copy % 2 == 1) std::reverse(moved.begin(), moved.end());
      add_flow(all, flow, moved);
    }
  }
  return all;
}

// Of a random system, five copies of every flow and resource; a copy of a flow uses some copy of each of its resources,
// all five copies of it all five. So the copies are alike, and do what the original does.
TEST(FindClasses, CopiesOfASystemAreSolvedAsOne) {
  constexpr std::int32_t kCopies = 5;
  for (const std::uint64_t seed : seeds(400)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    std::mt19937_64 random(seed);
    const FlowSet one = random_flows(seed);
    const FlowSet all = copies_of(one, kCopies, random);
    const FlowTimes merged = run_flows(all);
    ASSERT_LE(merged.classes, std::ssize(one.flows));
    std::vector<double> expected;
    for (const double time : run_flows(one, {.merge_symmetric = false}).completion.each())
      expected.insert(expected.end(), kCopies, time);
    expect_same_times(merged.completion.each(), expected, 1e-11);
    expect_same_times(merged.completion.each(), run_flows(all, {.merge_symmetric = false}).completion.each(), 1e-11);
  }
}

// Copies as above, and then a little that breaks their symmetry: one flow's resource, or amount, or demand, or the
// resources of two flows exchanged.
TEST(FindClasses, CopiesThatAreNotQuiteAlikeAreToldApart) {
  for (const std::uint64_t seed : seeds(400)) {
    if (HasFatalFailure()) return;  // one replay is enough
    SCOPED_TRACE(replay(seed));
    std::mt19937_64 random(seed);
    FlowSet all = copies_of(random_flows(seed), 5, random);
    if (all.uses.empty()) continue;
    const auto any = [&](std::size_t count) {
      return std::uniform_int_distribution<std::size_t>(0, count - 1)(random);
    };
    ResourceUse& use = all.uses[any(all.uses.size())];
    switch (random() % 4) {
      case 0: use.amount *= 1 + 1e-6; break;
      case 1: use.resource = use.resource / 5 * 5 + (use.resource + 1) % 5; break;
      case 2: std::swap(use.resource, all.uses[any(all.uses.size())].resource); break;
      default: all.flows[any(all.flows.size())].demand *= 1 + 1e-6; break;
    }
    expect_same_times(run_flows(all).completion.each(), run_flows(all, {.merge_symmetric = false}).completion.each(),
                      1e-11);
  }
}

}  // namespace
}  // namespace foretoken::sim
