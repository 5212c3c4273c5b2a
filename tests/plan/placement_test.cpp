#include "plan/placement.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A model and deployment of the given shape; everything that placement does not look at keeps its default.
struct Shape {
  std::int64_t layers = 4;
  std::int64_t experts = 16;
  std::int64_t sequences = 1024;
  std::int64_t tp = 1;
  std::int64_t dp = 1;
  std::int64_t stages = 1;
  std::int64_t ep = 1;
  std::int64_t micro_batches = 1;
  std::int64_t chunks = 1;
  std::int64_t dense_layers = 0;
  ExpertPlacement placement = ExpertPlacement::colocated;
};

Placement make(const Shape& shape) {
  ModelSpec model;
  model.layers = shape.layers;
  model.dense_layers = shape.dense_layers;
  model.experts = shape.experts;
  model.top_k = 1;
  WorkloadSpec workload;
  workload.sequences = shape.sequences;
  DeploymentSpec deployment;
  deployment.tp = shape.tp;
  deployment.dp = shape.dp;
  deployment.stages = shape.stages;
  deployment.ep = shape.ep;
  deployment.micro_batches = shape.micro_batches;
  deployment.chunks = shape.chunks;
  deployment.placement = shape.placement;
  deployment.exchange = ExpertExchange::dispatch;
  return Placement(model, workload, deployment);
}

RankId rank(int value) { return RankId(static_cast<std::int32_t>(value)); }

// 10 = 3 + 3 + 2 + 2: the first 10 mod 4 = 2 parts are one larger.
TEST(Split, FirstPartsAreOneLarger) {
  EXPECT_EQ(split({0, 10}, 4, 0), (Range{0, 3}));
  EXPECT_EQ(split({0, 10}, 4, 1), (Range{3, 6}));
  EXPECT_EQ(split({0, 10}, 4, 2), (Range{6, 8}));
  EXPECT_EQ(split({0, 10}, 4, 3), (Range{8, 10}));
}

TEST(Split, OfAPartStartsAtItsBeginAndMayBeEmpty) {
  EXPECT_EQ(split({100, 102}, 3, 0), (Range{100, 101}));
  EXPECT_EQ(split({100, 102}, 3, 1), (Range{101, 102}));
  EXPECT_EQ(split({100, 102}, 3, 2), (Range{102, 102}));
}

TEST(Split, OutsideTheWholeIsOurMistake) {
  EXPECT_THROW(static_cast<void>(split({0, 4}, 2, 2)), Error);
  EXPECT_THROW(static_cast<void>(split({0, 4}, 0, 0)), Error);
}

// rank = (stage * dp + replica) * tp + tp_index: 21 = (1 * 3 + 2) * 4 + 1.
TEST(PlacementRanks, AreNumberedStageThenReplicaThenTensorIndex) {
  const Placement placement = make({.tp = 4, .dp = 3, .stages = 2, .ep = 12});
  EXPECT_EQ(placement.stage_of(rank(21)), 1);
  EXPECT_EQ(placement.replica_of(rank(21)), 2);
  EXPECT_EQ(placement.tp_index_of(rank(21)), 1);
  EXPECT_EQ(placement.ep_index_of(rank(21)), 9);  // 21 - 12, the first rank of its stage's only expert group
}

TEST(PlacementLayers, SplitContiguouslyAndInvert) {
  // 7 layers over 3 stages: 3 + 2 + 2.
  const Placement placement = make({.layers = 7, .stages = 3});
  EXPECT_EQ(placement.layers_of_stage(0), (Range{0, 3}));
  EXPECT_EQ(placement.layers_of_stage(1), (Range{3, 5}));
  EXPECT_EQ(placement.layers_of_stage(2), (Range{5, 7}));
  for (std::int64_t layer = 0; layer < 7; ++layer) {
    const Range of_stage = placement.layers_of_stage(placement.stage_of_layer(layer));
    EXPECT_TRUE(of_stage.begin <= layer && layer < of_stage.end) << layer;
  }
}

// 10 sequences, 2 replicas: [0,5) and [5,10). Replica 1 in 2 micro-batches: [5,8) and [8,10). Over 2 TP ranks the first
// of those is [5,7) and [7,8).
TEST(PlacementSequences, SplitOverReplicasThenMicroBatchesThenTensorRanks) {
  const Placement placement = make({.sequences = 10, .tp = 2, .dp = 2, .ep = 4, .micro_batches = 2});
  EXPECT_EQ(placement.sequences(1, 0), (Range{5, 8}));
  EXPECT_EQ(placement.sequences(1, 1), (Range{8, 10}));
  EXPECT_EQ(placement.slice(1, 0, 0), (Range{5, 7}));
  EXPECT_EQ(placement.slice(1, 0, 1), (Range{7, 8}));
}

// Every sequence is in exactly one slice, also where nothing divides and some slices are empty.
TEST(PlacementSequences, SlicesTileTheBatch) {
  for (const std::int64_t sequences : {1, 7, 64, 1000}) {
    const Placement placement = make({.sequences = sequences, .tp = 3, .dp = 5, .ep = 15, .micro_batches = 4});
    std::int64_t next = 0;
    for (std::int64_t replica = 0; replica < 5; ++replica)
      for (std::int64_t micro_batch = 0; micro_batch < 4; ++micro_batch)
        for (std::int64_t tp_index = 0; tp_index < 3; ++tp_index) {
          const Range slice = placement.slice(replica, micro_batch, tp_index);
          EXPECT_EQ(slice.begin, next);
          next = slice.end;
        }
    EXPECT_EQ(next, sequences);
  }
}

// 16 experts on 8 ranks: two each, the same in every layer.
TEST(PlacementExperts, ColocatedPutsNeighboursOnOneRankInEveryLayer) {
  const Placement placement = make({.tp = 8, .ep = 8});
  for (std::int64_t layer = 0; layer < 4; ++layer) EXPECT_THAT(placement.experts_on(layer, 3), ElementsAre(6, 7));
  EXPECT_EQ(placement.host_of(2, 7), 3);
}

// The paper's layout: 4 layers of 16 experts on 64 ranks, expert g = 16 layer + e on rank g.
TEST(PlacementExperts, RoundRobinGivesOneExpertPerRankAcrossLayers) {
  const Placement placement = make({.tp = 8, .dp = 8, .ep = 64, .placement = ExpertPlacement::round_robin});
  for (std::int64_t index = 0; index < 64; ++index) {
    for (std::int64_t layer = 0; layer < 4; ++layer) {
      if (index / 16 == layer) {
        EXPECT_THAT(placement.experts_on(layer, index), ElementsAre(static_cast<std::int32_t>(index % 16)));
      } else {
        EXPECT_THAT(placement.experts_on(layer, index), IsEmpty());
      }
    }
  }
}

// 16 experts on 32 ranks, one copy per rank in every second layer: layers 0 and 2 use ranks 0-15, layers 1 and 3 the
// others.
TEST(PlacementExperts, RoundRobinWrapsOverLayers) {
  const Placement placement = make({.tp = 8, .dp = 4, .ep = 32, .placement = ExpertPlacement::round_robin});
  EXPECT_EQ(placement.host_of(1, 5), 21);
  EXPECT_EQ(placement.host_of(2, 5), 5);
  EXPECT_THAT(placement.experts_on(3, 31), ElementsAre(15));
}

// Layers count within their stage: stage 1 begins at layer 2, whose experts start again at rank 0 of its group.
TEST(PlacementExperts, RoundRobinStartsAnewInEveryStage) {
  const Placement placement =
      make({.tp = 8, .dp = 4, .stages = 2, .ep = 32, .placement = ExpertPlacement::round_robin});
  EXPECT_EQ(placement.host_of(2, 5), 5);
  EXPECT_EQ(placement.host_of(3, 5), 21);
}

TEST(PlacementExperts, ShardedPutsAPartOfEveryExpertOnEveryRank) {
  const Placement placement = make({.experts = 3, .tp = 2, .ep = 2, .placement = ExpertPlacement::sharded});
  EXPECT_THAT(placement.experts_on(0, 0), ElementsAre(0, 1, 2));
  EXPECT_THAT(placement.experts_on(3, 1), ElementsAre(0, 1, 2));
  EXPECT_EQ(placement.host_of(0, 2), 0);
}

TEST(PlacementExperts, DenseLayersHaveNone) {
  const Placement placement = make({.dense_layers = 1});
  EXPECT_THAT(placement.experts_on(0, 0), IsEmpty());
  EXPECT_EQ(placement.experts_on(1, 0).size(), 16u);
  EXPECT_THROW(static_cast<void>(placement.host_of(0, 0)), Error);
}

// host_of and experts_on are one relation seen from both sides, whatever divides whatever; the formula for round robin
// is written out here once more.
TEST(PlacementExperts, HostAndExpertsAreInverse) {
  for (const auto kind : {ExpertPlacement::colocated, ExpertPlacement::round_robin}) {
    for (const std::int64_t experts : {1, 5, 6, 16}) {
      for (const std::int64_t ep : {1, 2, 3, 4, 7, 12, 20}) {
        const Placement placement = make({.layers = 5, .experts = experts, .dp = ep, .ep = ep, .placement = kind});
        for (std::int64_t layer = 0; layer < 5; ++layer) {
          std::vector<int> hosted(static_cast<std::size_t>(experts), 0);
          for (std::int64_t index = 0; index < ep; ++index) {
            std::int32_t previous = -1;
            for (const std::int32_t expert : placement.experts_on(layer, index)) {
              EXPECT_LT(previous, expert);
              previous = expert;
              EXPECT_EQ(placement.host_of(layer, expert), index);
              ++hosted[static_cast<std::size_t>(expert)];
              if (kind == ExpertPlacement::round_robin) {
                EXPECT_EQ((layer * experts + expert) % ep, index);
              }
            }
          }
          EXPECT_THAT(hosted, ::testing::Each(1));
        }
      }
    }
  }
}

// 12 expert-group members in 5 chunks: 3 + 3 + 2 + 2 + 2.
TEST(PlacementChunks, SplitTheExpertGroup) {
  const Placement placement = make({.tp = 4, .dp = 3, .ep = 12, .chunks = 5});
  EXPECT_EQ(placement.chunk_sources(1), (Range{3, 6}));
  EXPECT_EQ(placement.chunk_sources(4), (Range{10, 12}));
}

TEST(Placement, ContradictionsAreOurMistake) {
  EXPECT_THROW(make({.tp = 8, .ep = 3}), Error);  // 3 does not divide 8
  EXPECT_THROW(make({.layers = 2, .stages = 3}), Error);
}

// 16,384 ranks, 4,096 experts that share no divisor pattern with the layers: storage is one list of experts.
TEST(Placement, StaysSmallAtSixteenThousandRanks) {
  const Placement placement = make({.layers = 61,
                                    .experts = 4095,
                                    .sequences = 1 << 20,
                                    .tp = 8,
                                    .dp = 2048,
                                    .ep = 16384,
                                    .placement = ExpertPlacement::round_robin});
  // (60 * 4095 + 4094) mod 16384 = 249,794 - 15 * 16,384 = 4,034.
  EXPECT_EQ(placement.host_of(60, 4094), 4034);
  EXPECT_THAT(placement.experts_on(60, 4034), ElementsAre(4094));
}

}  // namespace
}  // namespace foretoken::plan
