// Routed rows from rank to rank as GPUs would move them, on the host: numbered, put into the slots of messages, carried
// by the calls that NCCL would get, ordered by what their headers say, and sent back; each step through the functions
// that the kernels call.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/arrivals.hpp"
#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/index_tables.hpp"
#include "runtime/cuda/row_order.hpp"
#include "runtime/nccl_calls.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
using runtime::HostedRows;
using runtime::NcclCall;
using runtime::NcclFunction;
using runtime::RoutedRowTable;
using Integers = std::vector<std::int32_t>;
using Bytes = std::vector<std::byte>;

Integers first_of_each(const std::vector<std::int64_t>& rows) {
  Integers first{0};
  for (const std::int64_t one : rows) first.push_back(first.back() + static_cast<std::int32_t>(one));
  return first;
}

// ---- arrivals ------------------------------------------------------------------------------------------------------

struct Sorted {
  Integers source_rows;
  Integers expert_rows;
  Integers sorted;
};

// As the kernels do it: running sums in both orders, then every pair by itself.
Sorted sort_arrivals(Arrivals arrivals, const Integers& arrived) {
  Sorted result;
  Integers first_arrived;
  Integers first_sorted;
  std::int32_t sum = 0;
  for (std::int64_t pair = 0; pair < arrivals.pairs(); ++pair) {
    if (pair % arrivals.experts == 0) result.source_rows.push_back(sum);
    first_arrived.push_back(sum);
    sum += arrived[static_cast<std::size_t>(pair)];
  }
  result.source_rows.push_back(sum);
  sum = 0;
  for (std::int64_t at = 0; at < arrivals.pairs(); ++at) {
    if (at % arrivals.sources == 0) result.expert_rows.push_back(sum);
    first_sorted.push_back(sum);
    sum += arrived[static_cast<std::size_t>(arrivals.arrival_of(at))];
  }
  result.expert_rows.push_back(sum);
  result.sorted.assign(static_cast<std::size_t>(sum), -1);
  for (std::int64_t at = 0; at < arrivals.pairs(); ++at) {
    const auto pair = static_cast<std::size_t>(arrivals.arrival_of(at));
    for (std::int32_t i = 0; i < arrived[pair]; ++i)
      sort_row(first_arrived[pair], first_sorted[static_cast<std::size_t>(at)], i, result.sorted.data());
  }
  return result;
}

// Source 0 has 1 row for expert 0 and 2 for expert 1, source 1 has 3 and none. They arrive as 0: e0, 1-2: e1, 3-5: e0.
TEST(Arrivals, AreSortedByExpertAndThenBySource) {
  const Sorted rows = sort_arrivals({2, 2}, {1, 2, 3, 0});
  EXPECT_EQ(rows.source_rows, (Integers{0, 3, 6}));
  EXPECT_EQ(rows.expert_rows, (Integers{0, 4, 6}));
  EXPECT_EQ(rows.sorted, (Integers{0, 3, 4, 5, 1, 2}));
}

TEST(Arrivals, WithoutRowsOrOfOneSource) {
  EXPECT_EQ(sort_arrivals({3, 2}, {0, 0, 0, 0, 0, 0}).expert_rows, (Integers{0, 0, 0}));
  EXPECT_EQ(sort_arrivals({1, 3}, {2, 0, 1}).sorted, (Integers{0, 1, 2}));
}

TEST(Headers, HoldNumbersAtAnyAddress) {
  Bytes bytes(11, std::byte{0x5A});
  for (const std::int32_t number : {0, 1, 255, 256, 1 << 30, -1}) {
    for (std::size_t at : {0, 1, 2, 7}) {
      put_number(number, bytes.data() + at);
      EXPECT_EQ(number_at(bytes.data() + at), number);
    }
  }
}

// ---- from rank to rank ---------------------------------------------------------------------------------------------

constexpr std::int64_t kElement = 2;  // bytes: bf16

struct RankRows {
  Integers counts;
  Integers host_rows;
  Integers arrived;
  Sorted hosted;
  Bytes packed;   // by (host, expert, token)
  Bytes leaving;  // blocks of slots
  Bytes coming;
  Bytes rows;  // by (source, expert, token)
  Bytes returned;
};

// A rank's op of that name; roles have others besides.
const plan::Op& op_of(const plan::Plan& plan, std::int32_t rank, const std::string& name) {
  const auto& ops = plan.program.role_of(RankId(rank)).ops;
  const auto found = std::find_if(ops.begin(), ops.end(), [&](const plan::Op& op) { return op.name == name; });
  EXPECT_NE(found, ops.end()) << "no " << name;
  return *found;
}

// Makes the calls of all ranks; sends and receives between two are in their order.
void carry(const plan::Plan& plan, const runtime::NcclLowering& lowering, const std::string& name,
           std::vector<RankRows>& ranks) {
  struct Sent {
    const std::byte* data;
    std::int64_t bytes;
  };
  std::map<std::pair<std::int32_t, std::int32_t>, std::vector<Sent>> sent;
  const auto each_call = [&](const auto& body) {
    for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
      const plan::Op& op = op_of(plan, r, name);
      const Slots slots = message_slots(plan, op);
      const std::vector<std::int64_t> blocks(static_cast<std::size_t>(slots.places), slots.block_rows);
      const runtime::NcclOperation operation = lowering.operation(RankId(r), op, {blocks, blocks, {}, {}});
      for (const NcclCall& call : operation.calls) body(r, call, operation);
    }
  };
  each_call([&](std::int32_t r, const NcclCall& call, const runtime::NcclOperation& operation) {
    RankRows& own = ranks[static_cast<std::size_t>(r)];
    const std::byte* const from = own.leaving.data() + call.from * kElement;
    if (call.function == NcclFunction::copy)
      std::memcpy(own.coming.data() + call.to * kElement, from, static_cast<std::size_t>(call.count * kElement));
    if (call.function != NcclFunction::send && call.function != NcclFunction::all_to_all) return;
    const auto members = lowering.families()[static_cast<std::size_t>(operation.family)].members(RankId(r));
    for (std::size_t m = 0; m < members.size(); ++m)
      if (call.function == NcclFunction::all_to_all)
        sent[{r, members[m].value()}].push_back(
            {from + static_cast<std::int64_t>(m) * call.count * kElement, call.count * kElement});
      else if (static_cast<std::int32_t>(m) == call.peer)
        sent[{r, members[m].value()}].push_back({from, call.count * kElement});
  });
  each_call([&](std::int32_t r, const NcclCall& call, const runtime::NcclOperation& operation) {
    RankRows& own = ranks[static_cast<std::size_t>(r)];
    if (call.function != NcclFunction::recv && call.function != NcclFunction::all_to_all) return;
    const auto members = lowering.families()[static_cast<std::size_t>(operation.family)].members(RankId(r));
    for (std::size_t m = 0; m < members.size(); ++m) {
      if (call.function == NcclFunction::recv && static_cast<std::int32_t>(m) != call.peer) continue;
      auto& messages = sent[{members[m].value(), r}];
      ASSERT_FALSE(messages.empty()) << name << ": nothing for rank " << r;
      ASSERT_EQ(messages.front().bytes, call.count * kElement);
      const std::int64_t block = call.function == NcclFunction::recv ? 0 : static_cast<std::int64_t>(m) * call.count;
      std::memcpy(own.coming.data() + (call.to + block) * kElement, messages.front().data,
                  static_cast<std::size_t>(messages.front().bytes));
      messages.erase(messages.begin());
    }
  });
  for (const auto& [who, messages] : sent) EXPECT_TRUE(messages.empty()) << "not received by " << who.second;
}

void move_rows(std::int64_t rows, std::int64_t row_bytes, Slots slots, const Integers& first_rows, Bytes& exact,
               Bytes& in_slots, bool spread) {
  for (std::int64_t row = 0; row < rows; ++row) {
    std::byte* const one = exact.data() + row * row_bytes;
    std::byte* const slot = in_slots.data() + slot_of_row(first_rows.data(), slots, row) * row_bytes;
    std::memcpy(spread ? slot : one, spread ? one : slot, static_cast<std::size_t>(row_bytes));
  }
}

class SlotsBetweenRanks {
 public:
  explicit SlotsBetweenRanks(const plan::Plan& plan) : plan_(plan), lowering_(plan) {
    for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
      tables_.emplace_back(plan, RankId(r));
      indices_.emplace_back(plan, RankId(r), tables_.back());
    }
  }

  // One layer there and back.
  void run(std::int64_t step, const std::string& dispatch, const std::string& combine) {
    ranks_.assign(static_cast<std::size_t>(plan_.program.ranks), {});
    for (std::int32_t r = 0; r < plan_.program.ranks; ++r) leave(r, step, dispatch);
    carry(plan_, lowering_, dispatch, ranks_);
    for (std::int32_t r = 0; r < plan_.program.ranks; ++r) arrive(r, step, dispatch);
    for (std::int32_t r = 0; r < plan_.program.ranks; ++r) go_back(r, combine);
    carry(plan_, lowering_, combine, ranks_);
    for (std::int32_t r = 0; r < plan_.program.ranks; ++r) {
      RankRows& own = ranks_[static_cast<std::size_t>(r)];
      const plan::Op& op = op_of(plan_, r, combine);
      own.returned.resize(own.packed.size());
      move_rows(own.host_rows.back(), row_bytes(), message_slots(plan_, op), own.host_rows, own.returned, own.coming,
                false);
      EXPECT_EQ(own.returned, own.packed) << "rank " << r;
    }
  }

 private:
  [[nodiscard]] std::int64_t row_bytes() const { return plan_.scenario.model.hidden * kElement; }
  [[nodiscard]] std::span<const std::int32_t> table(std::int32_t rank, std::size_t offset, std::int64_t count) const {
    return indices_[static_cast<std::size_t>(rank)].all().subspan(offset, static_cast<std::size_t>(count));
  }

  // Numbers the rows as if the router had just chosen the experts, and fills the slots.
  void leave(std::int32_t rank, std::int64_t step, const std::string& name) {
    RankRows& own = ranks_[static_cast<std::size_t>(rank)];
    const plan::Op& op = op_of(plan_, rank, name);
    const IndexTables::Layer& layer = indices_[static_cast<std::size_t>(rank)].layer(op);
    const RoutedRowTable& truth = tables_[static_cast<std::size_t>(rank)].at(step, op.layer, op.micro_batch);
    const auto place_of_expert = table(rank, layer.place_of_expert, plan_.scenario.model.experts);
    const auto first_place = table(rank, layer.first_place, layer.arrivals.sources + 1);
    Integers place_of_choice;
    own.counts.assign(static_cast<std::size_t>(layer.places), 0);
    for (const std::int32_t expert : truth.experts) {
      place_of_choice.push_back(place_of_expert[static_cast<std::size_t>(expert)]);
      ++own.counts[static_cast<std::size_t>(place_of_choice.back())];
    }
    EXPECT_EQ(own.counts, truth.counts);
    const Integers first_rows = first_of_each({own.counts.begin(), own.counts.end()});
    Integers row_of(place_of_choice.size());
    Integers selected(place_of_choice.size());
    Integers numbered(own.counts.size(), 0);
    for (std::size_t i = 0; i < place_of_choice.size(); ++i) {
      const auto place = static_cast<std::size_t>(place_of_choice[i]);
      put_row(static_cast<std::int64_t>(i), plan_.scenario.model.top_k, first_rows[place], numbered[place]++,
              row_of.data(), selected.data());
    }
    EXPECT_EQ(row_of, truth.row_of);
    EXPECT_EQ(selected, truth.selected);
    for (const std::int32_t place : first_place) own.host_rows.push_back(first_rows[static_cast<std::size_t>(place)]);
    EXPECT_EQ(own.host_rows, first_of_each(truth.rows_to));

    const Slots slots = message_slots(plan_, op);
    own.packed.resize(static_cast<std::size_t>(own.host_rows.back() * row_bytes()));
    for (std::byte& byte : own.packed) byte = static_cast<std::byte>(random_() & 0xFFU);
    const auto bytes = static_cast<std::size_t>(slots.places * slots.block_rows * row_bytes());
    own.leaving.assign(bytes, std::byte{0x5A});
    own.coming.assign(bytes, std::byte{0xA5});
    for (std::int64_t place = 0; place < layer.places; ++place) {
      const std::int64_t host = place_of_row(first_place.data(), layer.arrivals.sources, place);
      put_number(own.counts[static_cast<std::size_t>(place)],
                 own.leaving.data() + host * slots.block_rows * row_bytes() +
                     (place - first_place[static_cast<std::size_t>(host)]) * 4);
    }
    move_rows(own.host_rows.back(), row_bytes(), slots, own.host_rows, own.packed, own.leaving, true);
  }

  void arrive(std::int32_t rank, std::int64_t step, const std::string& name) {
    RankRows& own = ranks_[static_cast<std::size_t>(rank)];
    const plan::Op& op = op_of(plan_, rank, name);
    if (!std::get<plan::ExchangeOp>(op.detail).host) return;
    const Slots slots = message_slots(plan_, op);
    const Arrivals arrivals = indices_[static_cast<std::size_t>(rank)].layer(op).arrivals;
    for (std::int64_t i = 0; i < arrivals.pairs(); ++i)
      own.arrived.push_back(number_at(own.coming.data() + i / arrivals.experts * slots.block_rows * row_bytes() +
                                      i % arrivals.experts * 4));
    own.hosted = sort_arrivals(arrivals, own.arrived);
    const HostedRows& truth = tables_[static_cast<std::size_t>(rank)].hosted(step, op.layer, op.micro_batch, op.chunk);
    EXPECT_EQ(own.hosted.source_rows, first_of_each(truth.rows_from)) << "rank " << rank;
    EXPECT_EQ(own.hosted.expert_rows, first_of_each(truth.rows_of_expert)) << "rank " << rank;
    EXPECT_EQ(own.hosted.sorted, truth.sorted) << "rank " << rank;
    own.rows.resize(static_cast<std::size_t>(truth.rows * row_bytes()));
    move_rows(truth.rows, row_bytes(), slots, own.hosted.source_rows, own.rows, own.coming, false);
  }

  void go_back(std::int32_t rank, const std::string& name) {
    RankRows& own = ranks_[static_cast<std::size_t>(rank)];
    const plan::Op& op = op_of(plan_, rank, name);
    const Slots slots = message_slots(plan_, op);
    const auto bytes = static_cast<std::size_t>(slots.places * slots.block_rows * row_bytes());
    own.leaving.assign(bytes, std::byte{0x5A});
    own.coming.assign(bytes, std::byte{0xA5});
    if (std::get<plan::ExchangeOp>(op.detail).host)
      move_rows(own.hosted.source_rows.back(), row_bytes(), slots, own.hosted.source_rows, own.rows, own.leaving, true);
  }

  const plan::Plan& plan_;
  runtime::NcclLowering lowering_;
  std::vector<runtime::RowTables> tables_;
  std::vector<IndexTables> indices_;
  std::vector<RankRows> ranks_;
  std::mt19937 random_{5};
};

void there_and_back(std::vector<std::string> settings) {
  settings.emplace_back(R"(model.dtype={"weights":"bf16"})");
  const plan::Plan plan = small_plan(settings);
  SlotsBetweenRanks all(plan);
  for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
    for (std::int64_t layer = 0; layer < plan.scenario.model.layers; ++layer) {
      const std::string prefix = "l" + std::to_string(layer) + ".m0.";
      all.run(step, prefix + "dispatch", prefix + "combine");
      if (testing::Test::HasFailure()) return;
    }
}

const char* const kColocated =
    R"(deployment.experts={"placement":"colocated","exchange":"dispatch","dispatch_mode":"capacity"})";
const char* const kRoundRobin =
    R"(deployment.experts={"placement":"round_robin","exchange":"dispatch","dispatch_mode":"capacity"})";

TEST(SlotsBetweenRanks, OfOneSizeByAllToAll) {
  there_and_back({kColocated, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8"});
}

TEST(SlotsBetweenRanks, OfTokensAndExpertsThatDoNotDivideEvenly) {
  there_and_back({kRoundRobin, R"(deployment.attention={"tp":2,"dp":2})", "model.experts=11", "model.top_k=3",
                  "workload.sequences=13"});
}

// 12 counts of 4 bytes are 48: a header of two rows of 18 columns, 36 bytes each.
TEST(SlotsBetweenRanks, WithHeadersOfTwoRows) {
  there_and_back({kColocated, R"(deployment.attention={"tp":1,"dp":2})", "model.hidden=18", "model.experts=24"});
}

// Three experts on four ranks: the last is source alone, and messages are a group of sends and receives.
TEST(SlotsBetweenRanks, WithARankWithoutExperts) {
  there_and_back({kRoundRobin, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=3", "workload.sequences=7"});
}

TEST(SlotsBetweenRanks, OfOneRank) { there_and_back({kColocated}); }

// What waits for nobody: tables of a plan that knows its routing hold what the device would find out.
TEST(IndexTables, HoldWhatThePlanKnows) {
  const plan::Plan plan = small_plan({kRoundRobin, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=11",
                                      "model.top_k=3", "workload.sequences=13"});
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const runtime::RowTables tables(plan, RankId(r));
    const IndexTables indices(plan, RankId(r), tables);
    for (const plan::Op& op : plan.program.role_of(RankId(r)).ops) {
      if (op.kind != plan::OpKind::route) continue;
      const RoutedRowTable& truth = tables.at(1, op.layer, op.micro_batch);
      const HostedRows& hosted = truth.hosted.front();
      const IndexTables::Offsets& offsets = indices.at(1, op);
      const auto at = [&](std::size_t offset, std::size_t count) {
        const auto part = indices.all().subspan(offset, count);
        return Integers(part.begin(), part.end());
      };
      EXPECT_EQ(at(offsets.experts, truth.experts.size()), truth.experts);
      EXPECT_EQ(at(offsets.selected, truth.selected.size()), truth.selected);
      EXPECT_EQ(at(offsets.row_of, truth.row_of.size()), truth.row_of);
      EXPECT_EQ(at(offsets.counts, truth.counts.size()), truth.counts);
      EXPECT_EQ(at(offsets.host_rows, 5), first_of_each(truth.rows_to));
      EXPECT_EQ(at(offsets.source_rows, 5), first_of_each(hosted.rows_from));
      EXPECT_EQ(at(offsets.expert_rows, hosted.rows_of_expert.size() + 1), first_of_each(hosted.rows_of_expert));
      EXPECT_EQ(at(offsets.sorted, hosted.sorted.size()), hosted.sorted);
    }
  }
}

// Room of a plan whose router decides is disjoint, and as large as any routing needs.
TEST(IndexTables, HaveRoomWhereTheRouterDecides) {
  const plan::Plan plan = small_plan({kColocated, R"(deployment.attention={"tp":1,"dp":4})", "model.experts=8",
                                      R"(routing={"kind":"model","seed":1,"routed_steps":2})"});
  const runtime::RowTables tables(plan, RankId(2));
  const IndexTables indices(plan, RankId(2), tables);
  std::size_t next = 0;
  for (std::int64_t step = 0; step < 2; ++step) {
    for (const plan::Op& op : plan.program.role_of(RankId(2)).ops) {
      if (op.kind != plan::OpKind::route) continue;
      const IndexTables::Offsets& t = indices.at(step, op);
      // 2 tokens here with 2 choices of 8 experts; 4 ranks send 2 tokens each, both choices perhaps to the 2 experts.
      const std::vector<std::pair<std::size_t, std::size_t>> pieces{
          {t.experts, 4},   {t.selected, 4}, {t.row_of, 4},      {t.first_rows, 9},  {t.counts, 8},
          {t.host_rows, 5}, {t.arrived, 8},  {t.source_rows, 5}, {t.expert_rows, 3}, {t.sorted, 16}};
      for (std::size_t a = 0; a + 1 < pieces.size(); ++a)
        EXPECT_EQ(pieces[a].first + pieces[a].second, pieces[a + 1].first);
      next = std::max(next, pieces.back().first + pieces.back().second);
    }
  }
  EXPECT_GE(indices.place_of_choice(), next);
  EXPECT_EQ(indices.pairs(), indices.place_of_choice() + 4);
  EXPECT_EQ(indices.all().size(), indices.pairs() + 2 * 8);
  EXPECT_EQ(rows_of_expert_max(plan, RankId(2), tables, plan::Extent::routed(0, 0, -1)), 8);
}

}  // namespace
}  // namespace foretoken::test
