// The index arithmetic of kernels, on the host, through the very functions that the kernels call.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "plan/program/program.hpp"
#include "runtime/cuda/element_index.hpp"
#include "runtime/cuda/model_index.hpp"
#include "runtime/cuda/row_order.hpp"
#include "runtime/cuda/split_kv.hpp"
#include "runtime/cuda/top_k.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/row_tables.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// ---- top-k ---------------------------------------------------------------------------------------------------------

// As the router's kernel selects: each lane its best after the last one taken, the best of those, top_k times.
std::vector<std::int32_t> selected(const std::vector<float>& scores, std::int32_t top_k, std::int32_t lanes) {
  std::vector<std::int32_t> experts;
  Scored last;
  for (std::int32_t choice = 0; choice < top_k; ++choice) {
    Scored best;
    for (std::int32_t lane = 0; lane < lanes; ++lane)
      best = first_of(best, best_after(scores.data(), static_cast<std::int32_t>(scores.size()), lane, lanes, last));
    last = best;
    experts.push_back(best.index);
  }
  return experts;
}

TEST(TopK, TakesTheLargestAndAmongEqualsTheFirst) {
  // By hand: 3 at 1 and 4, then 2 at 0 and 3, then 1 at 2.
  const std::vector<float> scores{2, 3, 1, 2, 3};
  for (const std::int32_t lanes : {1, 2, 3, 32})
    EXPECT_EQ(selected(scores, 5, lanes), (std::vector<std::int32_t>{1, 4, 0, 3, 2})) << lanes << " lanes";
}

TEST(TopK, IsAStableSortForAnyNumberOfLanes) {
  std::mt19937 random(7);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<float> scores(1 + random() % 300);
    for (float& score : scores) score = static_cast<float>(random() % 16);  // many ties
    std::vector<std::int32_t> sorted(scores.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](std::int32_t a, std::int32_t b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    const auto top_k = static_cast<std::int32_t>(std::min<std::size_t>(32, scores.size()));
    sorted.resize(static_cast<std::size_t>(top_k));
    EXPECT_EQ(selected(scores, top_k, 32), sorted) << "trial " << trial;
  }
}

TEST(TopK, PutsWhatIsNoNumberLast) {
  EXPECT_EQ(selected({kNan, -INFINITY, kNan, 1}, 4, 32), (std::vector<std::int32_t>{3, 1, 0, 2}));
  EXPECT_EQ(selected({kNan, kNan}, 2, 32), (std::vector<std::int32_t>{0, 1}));
}

TEST(TopK, HasOneOrder) {
  const std::vector<Scored> all{{1, 0}, {1, 1}, {2, 2}, {kNan, 3}, {kNan, 4}, {-INFINITY, 5}, {0, -1}};
  for (const Scored a : all) {
    EXPECT_FALSE(before(a, a));
    for (const Scored b : all) {
      if (a.index == b.index) continue;
      EXPECT_NE(before(a, b), before(b, a)) << a.index << " and " << b.index;
    }
  }
}

// ---- split KV ------------------------------------------------------------------------------------------------------

TEST(SplitKv, CutsPositionsOnceEach) {
  for (std::int64_t context = 1; context <= 40; ++context) {
    for (std::int64_t splits = 1; splits <= context; ++splits) {
      std::int64_t next = 0;
      for (std::int64_t split = 0; split < splits; ++split) {
        const Positions range = kv_range(context, splits, split);
        EXPECT_EQ(range.begin, next);
        EXPECT_GT(range.end, range.begin) << "an empty part of " << context << " in " << splits;
        EXPECT_LE(range.end - range.begin, (context + splits - 1) / splits);
        next = range.end;
      }
      EXPECT_EQ(next, context);
    }
  }
}

TEST(SplitKv, FillsTheDeviceButCutsNotTooSmall) {
  // 132 multiprocessors want 264 blocks. One of 16 blocks: 17 splits, if the context has 17 x 64 positions.
  EXPECT_EQ(kv_splits(16, 100'000, 132), 17);
  EXPECT_EQ(kv_splits(16, 1'000, 132), 16);  // 1000 / 64, rounded up
  EXPECT_EQ(kv_splits(1, 1'000'000, 132), kSplitsMax);
  EXPECT_EQ(kv_splits(264, 100'000, 132), 1);
  EXPECT_EQ(kv_splits(10'000, 100'000, 132), 1);
  EXPECT_EQ(kv_splits(1, 1, 132), 1);
}

TEST(SplitKv, NeverHasMoreSplitsThanPositions) {
  for (std::int64_t context = 1; context < 300; ++context)
    for (const std::int64_t blocks : {1, 3, 64, 500}) EXPECT_LE(kv_splits(blocks, context, 132), context);
}

TEST(SplitKv, HasRoomForAllPartsOrNeedsNone) {
  // 2 sequences x 8 heads over 2 KV heads: 4 blocks, 66 splits wanted, 4 useful at 200 positions.
  // 2 x 8 heads x 4 splits x (16 + 2) numbers of 4 bytes.
  EXPECT_EQ(attention_blocks(2, 8, 2), 4);
  EXPECT_EQ(attention_room(2, 8, 2, 16, 200, 132), 2 * 8 * 4 * 18 * 4);
  EXPECT_EQ(attention_room(300, 8, 2, 16, 200, 132), 0);
  EXPECT_EQ(attention_blocks(1, 128, 8), 16);  // 16 query heads of a group are two blocks
}

// softmax(scores) x values by parts that are merged in their order, some of them empty.
double merged(const std::vector<float>& scores, const std::vector<float>& values, std::int64_t splits,
              std::int64_t teams) {
  SoftmaxPart all;
  float sum = 0;
  for (std::int64_t split = 0; split < splits; ++split) {
    const Positions range = kv_range(static_cast<std::int64_t>(scores.size()), splits, split);
    SoftmaxPart of_split;
    float sum_of_split = 0;
    for (std::int64_t team = 0; team < teams; ++team) {  // more than there are positions: teams without any
      SoftmaxPart part;
      float sum_of_part = 0;
      for (std::int64_t i = range.begin + team; i < range.end; i += teams) {
        const MergeFactors factors = merge(part, part_of_score(scores[static_cast<std::size_t>(i)]));
        sum_of_part = factors.first * sum_of_part + factors.second * values[static_cast<std::size_t>(i)];
      }
      const MergeFactors factors = merge(of_split, part);
      sum_of_split = factors.first * sum_of_split + factors.second * sum_of_part;
    }
    const MergeFactors factors = merge(all, of_split);
    sum = factors.first * sum + factors.second * sum_of_split;
  }
  return static_cast<double>(sum) / static_cast<double>(all.sum);
}

TEST(SplitKv, MergedPartsAreTheWholeSoftmax) {
  std::mt19937 random(11);
  std::uniform_real_distribution<float> any(-80, 80);  // exp(80) would overflow nothing, exp(160) would
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<float> scores(1 + random() % 60);
    std::vector<float> values(scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
      scores[i] = any(random);
      values[i] = any(random);
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    double weights = 0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double weight = std::exp(static_cast<double>(scores[i]) - largest);
      sum += weight * static_cast<double>(values[i]);
      weights += weight;
    }
    const auto context = static_cast<std::int64_t>(scores.size());
    for (const std::int64_t splits : {std::int64_t{1}, (context + 1) / 2, context})
      for (const std::int64_t teams : {1, 4, 16})
        EXPECT_NEAR(merged(scores, values, splits, teams), sum / weights, 1e-4)
            << "trial " << trial << ", " << splits << " splits, " << teams << " teams";
  }
}

// ---- rows ----------------------------------------------------------------------------------------------------------

struct Numbered {
  std::vector<std::int32_t> first_rows;
  std::vector<std::int32_t> row_of;
  std::vector<std::int32_t> selected;
};

// As the kernels do it: a block per place, which numbers its own choices in their order.
Numbered numbered(const std::vector<std::int32_t>& place_of_choice, std::int64_t top_k, std::int64_t places,
                  RowPacking packing, std::int64_t capacity) {
  Numbered result;
  std::vector<std::int32_t> rows_of_place(static_cast<std::size_t>(places), 0);
  for (const std::int32_t place : place_of_choice)
    if (place >= 0) ++rows_of_place[static_cast<std::size_t>(place)];
  result.first_rows.push_back(0);
  for (const std::int32_t rows : rows_of_place) result.first_rows.push_back(result.first_rows.back() + rows);
  result.row_of.assign(place_of_choice.size(), -1);
  const std::int64_t slots = packing == RowPacking::exact ? result.first_rows.back() : places * capacity;
  result.selected.assign(static_cast<std::size_t>(slots), -1);
  for (std::int64_t place = 0; place < places; ++place) {
    const std::int64_t first = first_row(packing, place, result.first_rows[static_cast<std::size_t>(place)], capacity);
    std::int64_t index = 0;
    for (std::size_t i = 0; i < place_of_choice.size(); ++i)
      if (place_of_choice[i] == place)
        put_row(static_cast<std::int64_t>(i), top_k, first, index++, result.row_of.data(), result.selected.data());
  }
  return result;
}

TEST(RowOrder, IsTheOrderOfTheRowTables) {
  const std::vector<std::string> settings{R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                                          R"(deployment.attention={"tp":1,"dp":4})", "model.experts=11",
                                          "model.top_k=3", "workload.sequences=37"};
  const plan::Plan plan = small_plan(settings);
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const runtime::RowTables tables(plan, RankId(r));
    for (std::int64_t layer = 0; layer < plan.scenario.model.layers; ++layer) {
      const runtime::RoutedRowTable& table = tables.at(1, layer, 0);
      // Experts in the order (host, expert on that host).
      std::vector<std::int32_t> place(11, -1);
      std::int32_t next = 0;
      for (std::int64_t host = 0; host < 4; ++host)
        for (const std::int32_t expert : plan.placement.experts_on(layer, host))
          place[static_cast<std::size_t>(expert)] = next++;
      std::vector<std::int32_t> place_of_choice;
      for (const std::int32_t expert : table.experts)
        place_of_choice.push_back(place[static_cast<std::size_t>(expert)]);
      const Numbered rows = numbered(place_of_choice, 3, 11, RowPacking::exact, 0);
      EXPECT_EQ(rows.row_of, table.row_of);
      EXPECT_EQ(rows.selected, table.selected);
    }
  }
}

TEST(RowOrder, LeavesOutChoicesOfOthersAndEmptyPlaces) {
  // Two choices a token; place 1 has none. Place 0: choices 1 and 4, of tokens 0 and 2; place 2: choice 3 of token 1.
  const Numbered rows = numbered({-1, 0, -1, 2, 0, -1}, 2, 3, RowPacking::exact, 0);
  EXPECT_EQ(rows.first_rows, (std::vector<std::int32_t>{0, 2, 2, 3}));
  EXPECT_EQ(rows.row_of, (std::vector<std::int32_t>{-1, 0, -1, 2, 1, -1}));
  EXPECT_EQ(rows.selected, (std::vector<std::int32_t>{0, 2, 1}));
  EXPECT_EQ(place_of_row(rows.first_rows.data(), 3, 0), 0);
  EXPECT_EQ(place_of_row(rows.first_rows.data(), 3, 1), 0);
  EXPECT_EQ(place_of_row(rows.first_rows.data(), 3, 2), 2);  // not the empty place, which begins there too
}

TEST(RowOrder, CapacityPackingKeepsSlotsApart) {
  const std::vector<std::int32_t> places{2, 0, 2, 0, 0, -1};
  const Numbered exact = numbered(places, 1, 3, RowPacking::exact, 0);
  const Numbered packed = numbered(places, 1, 3, RowPacking::capacity, 4);
  // Slots 0 to 3 are place 0's, 8 to 11 place 2's.
  EXPECT_EQ(packed.row_of, (std::vector<std::int32_t>{8, 0, 9, 1, 2, -1}));
  for (std::size_t choice = 0; choice < places.size(); ++choice) {
    if (exact.row_of[choice] < 0) continue;
    EXPECT_EQ(slot_of_row(exact.first_rows.data(), {3, 4, 0}, exact.row_of[choice]), packed.row_of[choice]);
  }
}

TEST(RowOrder, EveryRowHasASlotOfItsOwn) {
  std::mt19937 random(3);
  for (int trial = 0; trial < 100; ++trial) {
    const auto places = static_cast<std::int64_t>(1 + random() % 20);
    std::vector<std::int32_t> place_of_choice(random() % 200);
    for (std::int32_t& place : place_of_choice)
      place = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(places + 1)) - 1;
    const Numbered rows = numbered(place_of_choice, 1, places, RowPacking::exact, 0);
    Slots slots{places, 0, static_cast<std::int64_t>(random() % 3)};
    for (std::size_t p = 0; p + 1 < rows.first_rows.size(); ++p)
      slots.block_rows =
          std::max<std::int64_t>(slots.block_rows, slots.header_rows + rows.first_rows[p + 1] - rows.first_rows[p]);
    std::vector<int> used(static_cast<std::size_t>(places * slots.block_rows), 0);
    for (std::int64_t row = 0; row < rows.first_rows.back(); ++row) {
      const std::int64_t slot = slot_of_row(rows.first_rows.data(), slots, row);
      EXPECT_GE(slot % slots.block_rows, slots.header_rows);
      ++used.at(static_cast<std::size_t>(slot));
    }
    EXPECT_EQ(std::count(used.begin(), used.end(), 1), rows.first_rows.back()) << "trial " << trial;
  }
}

TEST(Rows, EndWhereTheDevicesCountDoes) {
  const std::int32_t count = 3;
  EXPECT_EQ(Rows(7).here(), 7);
  EXPECT_EQ(Rows(7, &count).here(), 3);
  EXPECT_EQ(Rows(2, &count).here(), 2);  // never behind the end of a buffer
}

// ---- the model's numbers -------------------------------------------------------------------------------------------

void expect_same_model(const plan::Plan& plan) {
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(r);
    const plan::Role& role = plan.program.role_of(rank);
    for (const plan::Tensor& tensor : role.tensors) {
      if (tensor.kind != plan::TensorKind::weight) continue;
      const WeightIndex index = weight_index(plan, tensor, rank);
      std::vector<float> expected(static_cast<std::size_t>(tensor.stack * index.part.rows * index.part.cols));
      runtime::fill_weight(plan, tensor, rank, expected);
      for (std::size_t at = 0; at < expected.size(); ++at)
        ASSERT_EQ(weight_element(index.part, index.matrices.data(), index.draw, static_cast<std::int64_t>(at)),
                  expected[at])
            << tensor.name << " of rank " << r << ", element " << at;
    }
    for (const plan::Op& op : role.ops) {
      for (const TensorId output : op.outputs) {
        const plan::Tensor& tensor = role.tensors[output.index()];
        if (tensor.kind != plan::TensorKind::kv_cache) continue;
        std::vector<float> expected(static_cast<std::size_t>(tensor.rows.count * tensor.cols));
        runtime::fill_kv_cache(plan, tensor, op.micro_batch, rank, expected);
        const KvIndex index = kv_index(plan, tensor, op.micro_batch, rank);
        for (std::size_t at = 0; at < expected.size(); ++at)
          ASSERT_EQ(kv_element(index, static_cast<std::int64_t>(at)), expected[at])
              << tensor.name << " of rank " << r << ", element " << at;
      }
      if (op.kind != plan::OpKind::input) continue;
      const plan::Range sequences = own_sequences(plan, op.micro_batch, rank);
      std::vector<float> expected(static_cast<std::size_t>(sequences.size() * plan.scenario.model.hidden));
      runtime::fill_input(plan, 1, sequences, expected);
      const std::uint64_t key = runtime::matrix_key(plan.scenario.routing.seed, 1, runtime::kMatrixInput);
      for (std::size_t at = 0; at < expected.size(); ++at)
        ASSERT_EQ(input_element(key, sequences.begin * plan.scenario.model.hidden + static_cast<std::int64_t>(at)),
                  expected[at]);
    }
  }
}

TEST(ElementIndex, DrawsTheHostsModelOnEveryRank) {
  for (const char* name : {"baseline-r1", "baseline-r4-tp2-pp2", "baseline-r16-tp8-pp2", "large-ep-r4",
                           "shape-r2-tp2-sharded", "shape-r1-dense", "shape-r1-fine-grained", "shape-r2-ep2-two-batch"})
    expect_same_model(laptop_plan(name));
  expect_same_model(small_plan(
      {"model.gated=true", "model.shared_experts=2", "model.kv_heads=2", R"(deployment.attention={"tp":4,"dp":1})"}));
}

}  // namespace
}  // namespace foretoken::test
