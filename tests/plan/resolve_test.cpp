#include "plan/program/resolve.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace foretoken::plan {

bool operator==(const PairRows& a, const PairRows& b) {
  return a.source == b.source && a.host == b.host && a.rows == b.rows;
}

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Everything a RowCounter needs, with the lifetimes that it asks for.
struct Fixture {
  ModelSpec model;
  WorkloadSpec workload;
  RoutingSpec routing_spec;
  DeploymentSpec deployment;

  [[nodiscard]] Placement placement() const { return Placement(model, workload, deployment); }
  [[nodiscard]] Routing routing() const { return Routing(routing_spec, model.layers, model.experts, model.top_k); }
};

// 4 tokens, 2 ranks that each decode 2 of them, experts 0 and 1 on rank 0, 2 and 3 on rank 1, top 2.
Fixture two_ranks() {
  Fixture f;
  f.model.layers = 1;
  f.model.experts = 4;
  f.model.top_k = 2;
  f.workload.sequences = 4;
  f.routing_spec.seed = 8;
  f.deployment.dp = 2;
  f.deployment.ep = 2;
  f.deployment.placement = ExpertPlacement::colocated;
  f.deployment.exchange = ExpertExchange::dispatch;
  return f;
}

// The paper's large deployment at a size where nothing divides: attention over 2 ranks x 3 replicas, 6 ranks of
// experts.
Fixture uneven(ExpertPlacement placement) {
  Fixture f;
  f.model.layers = 3;
  f.model.experts = 10;
  f.model.top_k = 3;
  f.workload.sequences = 101;
  f.routing_spec.seed = 5;
  f.routing_spec.routed_steps = 2;
  f.deployment.tp = 2;
  f.deployment.dp = 6;
  f.deployment.ep = 6;  // two expert groups of three replicas each
  f.deployment.micro_batches = 2;
  f.deployment.chunks = 4;
  f.deployment.placement = placement;
  f.deployment.exchange = ExpertExchange::dispatch;
  return f;
}

Extent routed(std::int64_t layer, std::int64_t micro_batch, std::int64_t chunk) {
  return Extent{Extent::Kind::routed, 0, static_cast<std::int16_t>(layer), static_cast<std::int16_t>(micro_batch),
                static_cast<std::int16_t>(chunk)};
}

std::int64_t sum(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

RankId rank(std::int64_t value) { return RankId(static_cast<std::int32_t>(value)); }

// Seed 8 sends token 0 to experts 1 and 3, token 1 to 1 and 3, token 2 to 2 and 0, token 3 to 0 and 3. So
//   expert           0: tokens 2, 3    1: tokens 0, 1    2: token 2    3: tokens 0, 1, 3
//   rank 0 (0, 1) -> rank 0: expert 1 twice = 2 rows;        -> rank 1: expert 3 twice = 2 rows
//   rank 1 (2, 3) -> rank 0: expert 0 twice = 2 rows;        -> rank 1: expert 2 and expert 3 = 2 rows
TEST(RowCounter, HandWorkedExample) {
  const Fixture f = two_ranks();
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  std::vector<std::int32_t> experts(2);
  const std::vector<std::vector<std::int32_t>> expected{{1, 3}, {1, 3}, {2, 0}, {0, 3}};
  for (std::int64_t token = 0; token < 4; ++token) {
    routing.experts_of(0, 0, token, experts);
    ASSERT_EQ(experts, expected[static_cast<std::size_t>(token)]);
  }

  RowCounter counter(placement, routing, 4);
  const RoutedRows& rows = counter.rows(0, 0, 0, -1, 0);
  EXPECT_THAT(rows.rows_of_expert, ElementsAre(2, 2, 1, 3));
  EXPECT_THAT(rows.pairs, ElementsAre(PairRows{0, 0, 2}, PairRows{0, 1, 2}, PairRows{1, 0, 2}, PairRows{1, 1, 2}));
  EXPECT_THAT(counter.local_rows(rank(0), routed(0, 0, -1), 0), ElementsAre(2, 2));
  EXPECT_THAT(counter.local_rows(rank(1), routed(0, 0, -1), 0), ElementsAre(1, 3));
}

// The same with two chunks: chunk 0 holds the tokens of rank 0 alone, chunk 1 those of rank 1.
TEST(RowCounter, HandWorkedExampleInChunks) {
  Fixture f = two_ranks();
  f.deployment.chunks = 2;
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  RowCounter counter(placement, routing, 4);
  EXPECT_THAT(counter.rows(0, 0, 0, 0, 0).rows_of_expert, ElementsAre(0, 2, 0, 2));
  EXPECT_THAT(counter.rows(0, 0, 0, 0, 0).pairs, ElementsAre(PairRows{0, 0, 2}, PairRows{0, 1, 2}));
  EXPECT_THAT(counter.local_rows(rank(1), routed(0, 0, 1), 0), ElementsAre(1, 1));
}

// The same tokens on one TP pair that combines by all-reduce: both ranks hold all four tokens, nothing is sent.
TEST(RowCounter, AllReduceCountsTheTokensOfTheReplica) {
  Fixture f = two_ranks();
  f.deployment.dp = 1;
  f.deployment.tp = 2;
  f.deployment.exchange = ExpertExchange::all_reduce;
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  RowCounter counter(placement, routing, 4);
  EXPECT_THAT(counter.rows(0, 0, 0, -1, 0).rows_of_expert, ElementsAre(2, 2, 1, 3));
  EXPECT_THAT(counter.rows(0, 0, 0, -1, 0).pairs, IsEmpty());
  EXPECT_THAT(counter.local_rows(rank(1), routed(0, 0, -1), 0), ElementsAre(1, 3));
}

// Sharded experts: every rank works on the rows of every expert. Two replicas of 2 tokens: tokens 0 and 1 go to experts
// 1, 3 and 1, 3; the second replica has 2, 0 and 0, 3.
TEST(RowCounter, ShardedRanksHaveTheRowsOfAllExperts) {
  Fixture f = two_ranks();
  f.deployment.tp = 2;
  f.deployment.placement = ExpertPlacement::sharded;
  f.deployment.exchange = ExpertExchange::all_reduce;
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  RowCounter counter(placement, routing, 4);
  for (const std::int64_t r : {0, 1})
    EXPECT_THAT(counter.local_rows(rank(r), routed(0, 0, -1), 0), ElementsAre(0, 2, 0, 2));
  for (const std::int64_t r : {2, 3})
    EXPECT_THAT(counter.local_rows(rank(r), routed(0, 0, -1), 0), ElementsAre(2, 0, 1, 1));
}

// Over all ranks, micro-batches and expert groups, rows are tokens x top_k; each source sends its own tokens x top_k;
// what goes to a host is what its experts get; and chunks add up to the whole.
TEST(RowCounter, RowsAreConserved) {
  for (const auto kind : {ExpertPlacement::colocated, ExpertPlacement::round_robin}) {
    const Fixture f = uneven(kind);
    const Placement placement = f.placement();
    const Routing routing = f.routing();
    RowCounter counter(placement, routing, f.model.experts);
    for (const std::int64_t step : {0, 1}) {
      for (std::int64_t layer = 0; layer < f.model.layers; ++layer) {
        std::int64_t local_total = 0;
        for (std::int64_t micro_batch = 0; micro_batch < 2; ++micro_batch) {
          for (std::int64_t instance = 0; instance < 2; ++instance) {
            const RoutedRows whole = counter.rows(step, layer, micro_batch, -1, instance);
            std::map<std::int32_t, std::int64_t> sent;
            std::map<std::int32_t, std::int64_t> received;
            for (const PairRows& pair : whole.pairs) {
              EXPECT_GT(pair.rows, 0);
              sent[pair.source] += pair.rows;
              received[pair.host] += pair.rows;
            }
            EXPECT_TRUE(std::is_sorted(whole.pairs.begin(), whole.pairs.end(), [](const auto& a, const auto& b) {
              return std::pair(a.source, a.host) < std::pair(b.source, b.host);
            }));
            for (std::int32_t index = 0; index < 6; ++index) {
              const RankId r = rank(instance * 6 + index);
              const Range tokens = placement.slice(placement.replica_of(r), micro_batch, placement.tp_index_of(r));
              EXPECT_EQ(sent[index], tokens.size() * f.model.top_k);
              const auto local = counter.local_rows(r, routed(layer, micro_batch, -1), step);
              EXPECT_EQ(received[index], sum(local));
              local_total += sum(local);
            }

            std::vector<std::int64_t> in_chunks(whole.rows_of_expert.size(), 0);
            std::vector<PairRows> pairs_in_chunks;
            for (std::int64_t chunk = 0; chunk < f.deployment.chunks; ++chunk) {
              const RoutedRows& part = counter.rows(step, layer, micro_batch, chunk, instance);
              for (std::size_t e = 0; e < in_chunks.size(); ++e) in_chunks[e] += part.rows_of_expert[e];
              pairs_in_chunks.insert(pairs_in_chunks.end(), part.pairs.begin(), part.pairs.end());
            }
            EXPECT_EQ(in_chunks, whole.rows_of_expert);
            EXPECT_EQ(pairs_in_chunks, whole.pairs);
          }
        }
        EXPECT_EQ(local_total, f.workload.sequences * f.model.top_k);
      }
    }
  }
}

// Who decodes a token does not change where it goes: rows per expert are the same for 1 rank and for 12.
TEST(RowCounter, RowsPerExpertDoNotDependOnRanks) {
  Fixture one = uneven(ExpertPlacement::colocated);
  one.deployment = DeploymentSpec{};
  one.deployment.exchange = ExpertExchange::dispatch;
  const Fixture many = uneven(ExpertPlacement::round_robin);
  const Placement placement_one = one.placement();
  const Placement placement_many = many.placement();
  const Routing routing = many.routing();
  RowCounter count_one(placement_one, routing, 10);
  RowCounter count_many(placement_many, routing, 10);
  std::vector<std::int64_t> rows(10, 0);
  for (std::int64_t micro_batch = 0; micro_batch < 2; ++micro_batch)
    for (std::int64_t instance = 0; instance < 2; ++instance)
      for (std::size_t e = 0; e < 10; ++e)
        rows[e] += count_many.rows(1, 2, micro_batch, -1, instance).rows_of_expert[e];
  EXPECT_EQ(count_one.rows(1, 2, 0, -1, 0).rows_of_expert, rows);
}

// One expert per rank, layer 1 of the paper's large deployment: ranks 16-31 host, the others get nothing.
TEST(RowCounter, RanksWithoutExpertsOfALayerHaveNoRows) {
  Fixture f;
  f.model.layers = 4;
  f.model.experts = 16;
  f.model.top_k = 1;
  f.workload.sequences = 1024;
  f.deployment.tp = 8;
  f.deployment.dp = 8;
  f.deployment.ep = 64;
  f.deployment.placement = ExpertPlacement::round_robin;
  f.deployment.exchange = ExpertExchange::dispatch;
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  RowCounter counter(placement, routing, 16);
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < 64; ++r) {
    const auto local = counter.local_rows(rank(r), routed(1, 0, -1), 0);
    EXPECT_EQ(local.size(), r / 16 == 1 ? 1u : 0u);
    total += sum(local);
  }
  EXPECT_EQ(total, 1024);
}

TEST(RowCounter, AsksForARoutedExtentAndAnExistingInstance) {
  const Fixture f = two_ranks();
  const Placement placement = f.placement();
  const Routing routing = f.routing();
  RowCounter counter(placement, routing, 4);
  EXPECT_THROW(static_cast<void>(counter.local_rows(rank(0), Extent::fixed(4), 0)), Error);
  EXPECT_THROW(static_cast<void>(counter.rows(0, 0, 0, -1, 1)), Error);
}

}  // namespace
}  // namespace foretoken::plan
