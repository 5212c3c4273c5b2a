// Communication ops on the round machine, each time derived above its assertion. See tiny_program.hpp for the machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "core/error.hpp"
#include "tests/sim/tiny_program.hpp"

namespace foretoken::test {
namespace {

using plan::OpKind;

// One collective over all ranks; the time at which it ends for rank 0, having checked that it ends for all.
double collective_ends(const plan::Machine& machine, OpKind kind, CollectiveAlgorithm algorithm, std::int64_t bytes) {
  const std::int64_t ranks = machine.gpus();
  TinyProgram program(ranks);
  std::vector<std::int32_t> all(static_cast<std::size_t>(ranks));
  std::iota(all.begin(), all.end(), 0);
  const auto role = program.role(all);
  program.collective(role, "c", program.communication(kind, program.group(ranks), algorithm), bytes);
  const Trace trace = program.run(machine, 0, 1);
  for (const std::int32_t rank : all) EXPECT_EQ(times_of(trace, rank, "c").ended, times_of(trace, 0, "c").ended);
  return times_of(trace, 0, "c").ended;
}

// 4 ranks, 4,000 bytes in chunks of 1,000: 2 x 3 neighbour steps of 1 us, then 6 + 1 chunks through every kernel: 7 us.
TEST(Collective, RingAllReduceInANode) {
  EXPECT_NEAR(collective_ends(round_machine(1, 4), OpKind::all_reduce, CollectiveAlgorithm::ring, 4000), 13,
              kPicosecond);
}

// The same over 2 nodes of 2, steps between nodes being as fast here. Each NIC carries half of the 6 chunks, 3 us,
// which is less than the kernels need.
TEST(Collective, RingAllReduceAcrossNodes) {
  EXPECT_NEAR(collective_ends(round_machine(2, 2), OpKind::all_reduce, CollectiveAlgorithm::ring, 4000), 13,
              kPicosecond);
}

// Over 4 nodes of 1 all 6 chunks go through the one NIC: 6 us, still hidden behind the kernels' 7.
TEST(Collective, RingOfOneRankPerNodeUsesNoNvlink) {
  EXPECT_NEAR(collective_ends(round_machine(4, 1), OpKind::all_reduce, CollectiveAlgorithm::ring, 4000), 13,
              kPicosecond);
}

// 3 steps of 1 us, 3 + 1 chunks of 1,000 bytes.
TEST(Collective, RingAllGatherTakesHalfTheSteps) {
  EXPECT_NEAR(collective_ends(round_machine(1, 4), OpKind::all_gather, CollectiveAlgorithm::ring, 4000), 7,
              kPicosecond);
  EXPECT_NEAR(collective_ends(round_machine(1, 4), OpKind::reduce_scatter, CollectiveAlgorithm::ring, 4000), 7,
              kPicosecond);
}

// 3 us, and (1 + 1/4) 4,000 bytes.
TEST(Collective, NvlsAllReduce) {
  EXPECT_NEAR(collective_ends(round_machine(1, 4), OpKind::all_reduce, CollectiveAlgorithm::nvls, 4000), 8,
              kPicosecond);
}

// 3 peers of 1 us; everyone sends 1,000 bytes to each of 3 over its one link: 3 us.
TEST(Collective, DirectAllGatherInANode) {
  EXPECT_NEAR(collective_ends(round_machine(1, 4), OpKind::all_gather, CollectiveAlgorithm::direct, 4000), 6,
              kPicosecond);
}

// 1 us more for crossing nodes; of the 3 peers 2 are behind the NIC, which carries 2,000 bytes: 2 us.
TEST(Collective, DirectAllGatherAcrossNodes) {
  EXPECT_NEAR(collective_ends(round_machine(2, 2), OpKind::all_gather, CollectiveAlgorithm::direct, 4000), 6,
              kPicosecond);
}

TEST(Collective, NothingToMoveTakesNoTime) {
  EXPECT_EQ(collective_ends(round_machine(1, 4), OpKind::all_reduce, CollectiveAlgorithm::ring, 0), 0);
  EXPECT_EQ(collective_ends(round_machine(1, 1), OpKind::all_reduce, CollectiveAlgorithm::ring, 4000), 0);
}

// Rank 1 computes for 10 us first: rank 0 has posted at 0, both begin at 10. 2 steps, chunks of 1,000, 2 + 1 of them.
TEST(Collective, BeginsWhenTheLastMemberHasPosted) {
  TinyProgram program(2);
  const auto early = program.role({0});
  const auto late = program.role({1});
  const auto sum = program.communication(OpKind::all_reduce, program.group(2));
  program.compute(late, "work", 10);
  program.collective(early, "sum", sum, 2000);
  program.collective(late, "sum", sum, 2000);
  const Trace trace = program.run(round_machine(1, 2), 0, 1);
  EXPECT_EQ(times_of(trace, 0, "sum").posted, 0);
  EXPECT_EQ(times_of(trace, 0, "sum").begun, 10);
  EXPECT_NEAR(times_of(trace, 0, "sum").ended, 10 + 2 + 3, kPicosecond);
  EXPECT_EQ(times_of(trace, 1, "sum").posted, 10);
}

// Groups of stride 2 in ranks 0..3: {0, 2} and {1, 3}. Ranks 1 and 3 start 10 us later; the groups do not wait for one
// another.
TEST(Collective, InstancesOfAGroupAreIndependent) {
  TinyProgram program(4);
  const auto even = program.role({0, 2});
  const auto odd = program.role({1, 3});
  const auto sum = program.communication(OpKind::all_reduce, program.group(2, 2));
  program.compute(odd, "work", 10);
  program.collective(even, "sum", sum, 2000);
  program.collective(odd, "sum", sum, 2000);
  const Trace trace = program.run(round_machine(1, 4), 0, 1);
  EXPECT_NEAR(times_of(trace, 2, "sum").ended, 5, kPicosecond);
  EXPECT_NEAR(times_of(trace, 3, "sum").ended, 15, kPicosecond);
}

// 0 computes 10 us and sends 1,000 bytes to 1 in its node: 1 us + 1 us. 1 computes 10 us and sends to 2 on the other
// node: 2 us + 1 us.
TEST(Transfer, AChainOfSends) {
  TinyProgram program(4);
  const auto first = program.role({0});
  const auto second = program.role({1});
  const auto third = program.role({2});
  program.role({3});
  const auto ab = program.communication(OpKind::send);
  const auto bc = program.communication(OpKind::send);
  const OpId a = program.compute(first, "work", 10);
  program.send(first, "ab", ab, 1, 1000, {{{a, 0}}, plan::kPipelineSend});
  const OpId got = program.recv(second, "ab", ab, -1, 1000, {{}, plan::kPipelineRecv});
  const OpId b = program.compute(second, "work", 10, {{{got, 0}}});
  program.send(second, "bc", bc, 1, 1000, {{{b, 0}}, plan::kPipelineSend});
  program.recv(third, "bc", bc, -1, 1000, {{}, plan::kPipelineRecv});
  const Trace trace = program.run(round_machine(2, 2), 0, 1);
  EXPECT_EQ(times_of(trace, 1, "ab").posted, 0);
  EXPECT_EQ(times_of(trace, 1, "ab").begun, 10);
  EXPECT_NEAR(times_of(trace, 1, "ab").ended, 12, kPicosecond);
  EXPECT_NEAR(times_of(trace, 0, "ab").ended, 12, kPicosecond);
  EXPECT_NEAR(times_of(trace, 1, "bc").begun, 22, kPicosecond);
  EXPECT_NEAR(times_of(trace, 2, "bc").ended, 25, kPicosecond);
}

// 0 and 1 send 1,000 and 2,000 bytes to 2, over its one link. From 1 us on each has half: the first is done after 2 us;
// the second has 1,000 bytes left and the link to itself.
TEST(Transfer, TwoFlowsShareALink) {
  TinyProgram program(3);
  const auto a = program.role({0});
  const auto b = program.role({1});
  const auto c = program.role({2});
  const auto ac = program.communication(OpKind::send);
  const auto bc = program.communication(OpKind::send);
  program.send(a, "ac", ac, 2, 1000);
  program.send(b, "bc", bc, 1, 2000);
  program.recv(c, "ac", ac, -2, 1000, {{}, plan::kPipelineRecv});
  program.recv(c, "bc", bc, -1, 2000, {{}, plan::kCommunication});
  const Trace trace = program.run(round_machine(1, 3), 0, 1);
  EXPECT_NEAR(times_of(trace, 2, "ac").ended, 1 + 2, kPicosecond);
  EXPECT_NEAR(times_of(trace, 2, "bc").ended, 1 + 2 + 1, kPicosecond);
}

// Rows of 1,000 bytes: 0 -> 1: 2, 0 -> 2: 1, 2 -> 1: 3, 1 -> 1: 5 (stays). After 5 us, at 1 row per us and link:
//   0..2   up of 0 and down of 1 are shared by two: all three at 1/2. 0 -> 2 is done
//   2..4   down of 1 still shared: 0 -> 1 is done; 2 -> 1 has sent 2 of 3
//   4..5   2 -> 1 alone
class UnevenExchange : public ::testing::TestWithParam<OpKind> {
 protected:
  TinyProgram program{3};
  void set_up(double late_us) {
    const auto early = program.role({0, 1});
    const auto late = program.role({2});
    const auto exchange = program.communication(GetParam(), program.group(3));
    program.compute(late, "work", late_us);
    program.exchange(early, "x", exchange);
    program.exchange(late, "x", exchange);
    program.pairs = {{0, 1, 2}, {0, 2, 1}, {1, 1, 5}, {2, 1, 3}};
  }
};

// A combine is the same the other way round, and takes as long.
TEST_P(UnevenExchange, MessagesShareLinksAndEveryRankEndsWithItsLast) {
  set_up(0);
  const Trace trace = program.run(round_machine(1, 3), 0, 1);
  EXPECT_NEAR(times_of(trace, 0, "x").ended, 5 + 4, kPicosecond);
  EXPECT_NEAR(times_of(trace, 1, "x").ended, 5 + 5, kPicosecond);
  EXPECT_NEAR(times_of(trace, 2, "x").ended, 5 + 5, kPicosecond);
}

// Rank 2 comes at 100 us. 0 -> 1 goes ahead alone; 0 -> 2 and 2 -> 1 start at 105 and do not share a link.
TEST_P(UnevenExchange, MessagesStartWhenTheirTwoSidesArePosted) {
  set_up(100);
  const Trace trace = program.run(round_machine(1, 3), 0, 1);
  EXPECT_EQ(times_of(trace, 0, "x").begun, 0);
  EXPECT_EQ(times_of(trace, 2, "x").begun, 100);
  EXPECT_NEAR(times_of(trace, 0, "x").ended, 105 + 1, kPicosecond);
  EXPECT_NEAR(times_of(trace, 1, "x").ended, 105 + 3, kPicosecond);
}

INSTANTIATE_TEST_SUITE_P(BothWays, UnevenExchange, ::testing::Values(OpKind::dispatch, OpKind::combine));

// Only rank 1 keeps rows, its own: nobody waits for anybody, though rank 0 comes late.
TEST(Exchange, ARankWithoutMessagesEndsWhenItPosts) {
  TinyProgram program(2);
  const auto late = program.role({0});
  const auto early = program.role({1});
  const auto exchange = program.communication(OpKind::dispatch, program.group(2));
  program.compute(late, "work", 10);
  program.exchange(late, "x", exchange);
  program.exchange(early, "x", exchange);
  program.pairs = {{1, 1, 5}};
  const Trace trace = program.run(round_machine(1, 2), 0, 1);
  EXPECT_EQ(times_of(trace, 1, "x").ended, 0);
  EXPECT_EQ(times_of(trace, 0, "x").ended, 10);
}

// Across nodes: 10 us, then 3 rows over a NIC each way: 3 us.
TEST(Exchange, AcrossNodes) {
  TinyProgram program(2);
  const auto role = program.role({0, 1});
  program.exchange(role, "x", program.communication(OpKind::dispatch, program.group(2)));
  program.pairs = {{0, 1, 3}, {1, 0, 3}};
  const Trace trace = program.run(round_machine(2, 1), 0, 1);
  EXPECT_NEAR(times_of(trace, 0, "x").ended, 13, kPicosecond);
}

// Who is called what makes no difference: with the ranks of one node permuted, so are the times. And the bytes bound
// the makespan: no rank sends or receives faster than 1 row per us.
TEST(Exchange, RelabellingRanksPermutesTheTimes) {
  constexpr std::int32_t kRanks = 8;
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::int32_t> name(kRanks);
    std::iota(name.begin(), name.end(), 0);
    std::shuffle(name.begin(), name.end(), random);
    std::vector<plan::PairRows> pairs;
    std::vector<plan::PairRows> renamed;
    std::vector<std::int64_t> sent(kRanks, 0);
    std::vector<std::int64_t> received(kRanks, 0);
    for (std::int32_t source = 0; source < kRanks; ++source) {
      for (std::int32_t host = 0; host < kRanks; ++host) {
        const std::int64_t rows = std::uniform_int_distribution<int>(0, 4)(random);
        if (rows == 0) continue;
        pairs.push_back({source, host, rows});
        renamed.push_back({name[static_cast<std::size_t>(source)], name[static_cast<std::size_t>(host)], rows});
        if (source == host) continue;
        sent[static_cast<std::size_t>(source)] += rows;
        received[static_cast<std::size_t>(host)] += rows;
      }
    }
    std::sort(renamed.begin(), renamed.end(),
              [](const auto& a, const auto& b) { return std::pair(a.source, a.host) < std::pair(b.source, b.host); });
    const auto run = [&](const std::vector<plan::PairRows>& of) {
      TinyProgram program(kRanks);
      const auto role = program.role({0, 1, 2, 3, 4, 5, 6, 7});
      program.exchange(role, "x", program.communication(OpKind::dispatch, program.group(kRanks)));
      program.pairs = of;
      return program.run(round_machine(1, kRanks), 0, 1);
    };
    const Trace before = run(pairs);
    const Trace after = run(renamed);
    for (std::int32_t rank = 0; rank < kRanks; ++rank) {
      const auto r = static_cast<std::size_t>(rank);
      const double ended = times_of(before, rank, "x").ended;
      EXPECT_NEAR(ended, times_of(after, name[r], "x").ended, kPicosecond) << "seed " << seed;
      EXPECT_GE(ended, 5 + static_cast<double>(std::max(sent[r], received[r])) - kPicosecond) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace foretoken::test
