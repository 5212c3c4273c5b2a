// Tokens that go once per node as GPUs move them, on the host: by the tables that are copied to a device, the calls
// that NCCL would get and the arithmetic of the kernels, against what the host's own schedules do to the same numbers.
#include "runtime/cuda/once_per_node.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "plan/program/node_rows.hpp"
#include "runtime/cuda/device_layout.hpp"
#include "runtime/cuda/index_tables.hpp"
#include "runtime/cuda/limits.hpp"
#include "runtime/cuda/node_tables.hpp"
#include "runtime/schedule.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
using runtime::NcclCall;
using runtime::NcclFunction;

using Strings = std::vector<std::string>;
using Numbers = std::vector<float>;
using RowBytes = std::vector<std::byte>;

// ---- messages ------------------------------------------------------------------------------------------------------

struct OnWire {
  std::int32_t from = 0;
  std::int32_t to = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
};

// Those between two ranks are in their order. What is sent is read before anything arrives, as it may be for all that
// senders know.
void deliver(const std::vector<OnWire>& sends, const std::vector<OnWire>& receives) {
  std::map<std::pair<std::int32_t, std::int32_t>, std::deque<RowBytes>> sent;
  for (const OnWire& one : sends) sent[{one.from, one.to}].emplace_back(one.data, one.data + one.bytes);
  for (const OnWire& one : receives) {
    auto& messages = sent[{one.from, one.to}];
    ASSERT_FALSE(messages.empty()) << one.to << " waits for " << one.from;
    ASSERT_EQ(messages.front().size(), one.bytes) << "from " << one.from << " to " << one.to;
    std::copy(messages.front().begin(), messages.front().end(), one.data);
    messages.pop_front();
  }
  for (const auto& [who, messages] : sent)
    EXPECT_TRUE(messages.empty()) << "from " << who.first << ", not received by " << who.second;
}

// ---- what ranks have -----------------------------------------------------------------------------------------------

/// The two inputs and two outputs of a rank's dispatch, and those of its combine. Elements of dispatched rows have a
/// size; what is added up is fp32.
struct RankEnds {
  RowBytes tokens;
  Numbers routes;
  RowBytes rows;
  Numbers weights;
  Numbers experts;
  Numbers sums;
};

std::span<std::byte> bytes_in(Numbers& numbers) { return std::as_writable_bytes(std::span(numbers)); }

/// A token's choice that has a row at an expert's rank.
struct RowOf {
  std::int32_t source = 0;
  std::int64_t token = 0;  // of the source, from 0
  std::int64_t choice = 0;
};

plan::Range tokens_of(const plan::Plan& plan, RankId rank, std::int64_t micro_batch) {
  return plan.placement.slice(plan.placement.replica_of(rank), micro_batch, plan.placement.tp_index_of(rank));
}

// By (source, expert, token): said once more, in plain loops.
std::vector<RowOf> rows_at(const plan::Plan& plan, RankId rank, const plan::Op& op, std::int64_t step) {
  std::vector<RowOf> rows;
  const std::int64_t ep = plan.scenario.deployment.ep;
  const std::int64_t first = rank.value() / ep * ep;
  std::vector<std::int32_t> chosen(static_cast<std::size_t>(plan.scenario.model.top_k));
  for (std::int64_t source = first; source < first + ep; ++source)
    for (const std::int32_t expert : plan.placement.experts_on(op.layer, plan.placement.ep_index_of(rank))) {
      const auto from = static_cast<std::int32_t>(source);
      const plan::Range tokens = tokens_of(plan, RankId(from), op.micro_batch);
      for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
        plan.routing.experts_of(step, op.layer, token, chosen);
        for (std::size_t choice = 0; choice < chosen.size(); ++choice)
          if (chosen[choice] == expert) rows.push_back({from, token - tokens.begin, static_cast<std::int64_t>(choice)});
      }
    }
  return rows;
}

// ---- both sides ----------------------------------------------------------------------------------------------------

class ThereAndBack {
 public:
  ThereAndBack(const plan::Plan& plan, std::int64_t layer, std::int64_t micro_batch, std::int64_t step)
      : plan_(plan),
        lowering_(plan),
        name_("l" + std::to_string(layer) + ".m" + std::to_string(micro_batch) + "."),
        step_(step),
        element_(bytes_per_element(element_type(plan))),
        hidden_(plan.scenario.model.hidden),
        shape_{hidden_ * element_, plan.scenario.model.top_k},
        ends_(static_cast<std::size_t>(plan.program.ranks)) {
    for (std::int32_t r = 0; r < ranks(); ++r) {
      tables_.emplace_back(plan, RankId(r));
      make_ends(r);
    }
  }

  void run_and_compare() {
    dispatch();
    for (std::int32_t r = 0; r < ranks(); ++r) expect_dispatched(r);
    if (element_ != 4 || testing::Test::HasFailure()) return;
    const std::vector<RankEnds> device = [&] {
      combine();
      return ends_;
    }();
    by_the_hosts_schedules("dispatch");
    for (std::int32_t r = 0; r < ranks(); ++r) {
      EXPECT_EQ(at(r).rows, device[static_cast<std::size_t>(r)].rows) << "rank " << r;
      EXPECT_EQ(at(r).weights, device[static_cast<std::size_t>(r)].weights) << "rank " << r;
    }
    by_the_hosts_schedules("combine");
    for (std::int32_t r = 0; r < ranks(); ++r) {
      // To the bit: the order of the sums is the host's.
      EXPECT_EQ(at(r).sums, device[static_cast<std::size_t>(r)].sums) << "rank " << r;
      EXPECT_GT(*std::max_element(at(r).sums.begin(), at(r).sums.end()), 0) << "rank " << r;
    }
  }

 private:
  [[nodiscard]] std::int32_t ranks() const { return static_cast<std::int32_t>(plan_.program.ranks); }
  [[nodiscard]] RankEnds& at(std::int32_t rank) { return ends_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] const NodeTables::Of& of(std::int32_t rank, const plan::Op& op) const {
    return tables_[static_cast<std::size_t>(rank)].at(step_, op);
  }
  [[nodiscard]] std::span<const std::int32_t> table(std::int32_t rank, NodeTables::Table which) const {
    return tables_[static_cast<std::size_t>(rank)].all().subspan(which.offset, static_cast<std::size_t>(which.count));
  }
  [[nodiscard]] const plan::Op& op_named(std::int32_t rank, const std::string& kind) const {
    const auto& ops = plan_.program.role_of(RankId(rank)).ops;
    return *std::find_if(ops.begin(), ops.end(), [&](const plan::Op& op) { return op.name == name_ + kind; });
  }
  Numbers drawn_numbers(std::size_t count) {
    std::uniform_real_distribution<float> any(-1, 1);
    Numbers numbers(count);
    for (float& number : numbers) number = any(random_);
    return numbers;
  }

  void make_ends(std::int32_t rank) {
    const plan::Op& op = op_named(rank, "dispatch");
    const plan::Range tokens = tokens_of(plan_, RankId(rank), op.micro_batch);
    RankEnds& ends = at(rank);
    ends.tokens.resize(static_cast<std::size_t>(tokens.size() * shape_.hidden_bytes));
    const Numbers elements = drawn_numbers(ends.tokens.size() / 4 + 1);
    std::memcpy(ends.tokens.data(), elements.data(), ends.tokens.size());
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(shape_.top_k));
    for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
      plan_.routing.experts_of(step_, op.layer, token, chosen);
      ends.routes.insert(ends.routes.end(), chosen.begin(), chosen.end());
      const Numbers weights = drawn_numbers(chosen.size());
      ends.routes.insert(ends.routes.end(), weights.begin(), weights.end());
    }
    const std::size_t rows = rows_at(plan_, RankId(rank), op, step_).size();
    ends.rows.resize(rows * static_cast<std::size_t>(shape_.hidden_bytes));
    ends.weights.resize(rows);
    ends.experts = drawn_numbers(rows * static_cast<std::size_t>(hidden_));
    ends.sums.resize(static_cast<std::size_t>(tokens.size() * hidden_));
  }

  // ---- as a device does it

  // Staging as large as the layout says, and what stands behind it must stay.
  struct Staging {
    RowBytes leaving;
    RowBytes coming;
  };
  static constexpr std::size_t kBehind = 64;
  static constexpr std::byte kUntouched{0x5A};

  void make_staging(const std::string& kind) {
    staging_.clear();
    for (std::int32_t r = 0; r < ranks(); ++r) {
      const plan::Op& op = op_named(r, kind);
      const NodeStaging rows = node_staging_max(plan_, RankId(r), op);
      const std::int64_t row_bytes = std::get<plan::ExchangeOp>(op.detail).cols * element_;
      const auto with = [&](std::int64_t count) {
        return RowBytes(static_cast<std::size_t>(count * row_bytes) + kBehind, kUntouched);
      };
      staging_.push_back({with(rows.leaving), with(rows.coming)});
    }
  }
  void expect_nothing_behind() const {
    for (const Staging& one : staging_)
      for (const RowBytes* bytes : {&one.leaving, &one.coming})
        EXPECT_TRUE(std::all_of(bytes->end() - kBehind, bytes->end(), [](std::byte b) { return b == kUntouched; }));
  }

  void carry_round(const std::string& kind, std::size_t round) {
    std::vector<OnWire> sends;
    std::vector<OnWire> receives;
    for (std::int32_t r = 0; r < ranks(); ++r) {
      const plan::Op& op = op_named(r, kind);
      const runtime::RowTables rows(plan_, RankId(r));
      const runtime::NcclOperation operation = lowering_.operation(RankId(r), op, runtime::rows_of(rows, op, step_));
      const NodeRounds rounds = node_rounds(operation);
      for (const NcclCall& call : round == 0 ? rounds.first : rounds.second) {
        if (call.function == NcclFunction::group_start || call.function == NcclFunction::group_end) continue;
        const auto members = lowering_.families()[static_cast<std::size_t>(operation.family)].members(RankId(r));
        const std::int32_t peer = members[static_cast<std::size_t>(call.peer)].value();
        Staging& own = staging_[static_cast<std::size_t>(r)];
        const auto bytes = static_cast<std::size_t>(call.count * element_);
        if (call.function == NcclFunction::send)
          sends.push_back({r, peer, own.leaving.data() + call.from * element_, bytes});
        else receives.push_back({peer, r, own.coming.data() + call.to * element_, bytes});
      }
    }
    deliver(sends, receives);
  }

  void pack(std::int32_t rank, NodeTables::Table tokens, std::byte* to) {
    for (const std::int32_t token : table(rank, tokens)) {
      std::memcpy(to, at(rank).tokens.data() + token * shape_.hidden_bytes,
                  static_cast<std::size_t>(shape_.hidden_bytes));
      for (std::int64_t choice = 0; choice < shape_.top_k; ++choice)
        put_weight(shape_, to, choice,
                   at(rank).routes[static_cast<std::size_t>((2 * token + 1) * shape_.top_k + choice)]);
      to += shape_.bytes();
    }
  }

  void dispatch() {
    make_staging("dispatch");
    for (std::int32_t r = 0; r < ranks(); ++r) {
      const NodeTables::Of& own = of(r, op_named(r, "dispatch"));
      pack(r, own.leaving, staging_[static_cast<std::size_t>(r)].leaving.data());
      pack(r, own.own, staging_[static_cast<std::size_t>(r)].coming.data() + own.own_first() * shape_.bytes());
    }
    carry_round("dispatch", 0);
    for (std::int32_t r = 0; r < ranks(); ++r) {
      const NodeTables::Of& own = of(r, op_named(r, "dispatch"));
      Staging& staged = staging_[static_cast<std::size_t>(r)];
      std::byte* to = staged.leaving.data() + own.leaving.count * shape_.bytes();
      for (const std::int32_t visitor : table(r, own.passing)) {
        std::memcpy(to, staged.coming.data() + visitor * shape_.bytes(), static_cast<std::size_t>(shape_.bytes()));
        to += shape_.bytes();
      }
    }
    carry_round("dispatch", 1);
    for (std::int32_t r = 0; r < ranks(); ++r) {
      const NodeTables::Of& own = of(r, op_named(r, "dispatch"));
      const auto visitors = table(r, own.visitor_of_row);
      const auto choices = table(r, {own.choice_of_row, own.visitor_of_row.count});
      for (std::size_t row = 0; row < visitors.size(); ++row) {
        const std::byte* const visitor =
            staging_[static_cast<std::size_t>(r)].coming.data() + visitors[row] * shape_.bytes();
        std::memcpy(at(r).rows.data() + row * static_cast<std::size_t>(shape_.hidden_bytes), visitor,
                    static_cast<std::size_t>(shape_.hidden_bytes));
        at(r).weights[row] = weight_at(shape_, visitor, choices[row]);
      }
    }
    expect_nothing_behind();
  }

  void expect_dispatched(std::int32_t rank) {
    const std::vector<RowOf> expected = rows_at(plan_, RankId(rank), op_named(rank, "dispatch"), step_);
    const auto width = static_cast<std::size_t>(shape_.hidden_bytes);
    ASSERT_EQ(of(rank, op_named(rank, "dispatch")).visitor_of_row.count, std::ssize(expected));
    for (std::size_t row = 0; row < expected.size(); ++row) {
      const auto [source, token, choice] = expected[row];
      const auto first = static_cast<std::size_t>(token) * width;
      EXPECT_EQ(0, std::memcmp(at(rank).rows.data() + row * width, at(source).tokens.data() + first, width))
          << "row " << row << " of rank " << rank << ", token " << token << " of rank " << source;
      EXPECT_EQ(at(rank).weights[row],
                at(source).routes[static_cast<std::size_t>((2 * token + 1) * shape_.top_k + choice)])
          << "row " << row << " of rank " << rank;
    }
  }

  void sum(std::int32_t rank, const NodeTables::Of& own, const NodeTables::Sums& which, std::byte* to) {
    const NodeSums sums = NodeTables::sums(own, which, tables_[static_cast<std::size_t>(rank)].all().data());
    const std::byte* const back = staging_[static_cast<std::size_t>(rank)].coming.data();
    for (std::int64_t i = 0; i < sums.count; ++i)
      for (std::int64_t col = 0; col < hidden_; ++col) {
        float total[1] = {};
        sum_terms(
            sums, i, total,
            [&](std::int64_t row, float(&partial)[1]) {
              partial[0] += at(rank).weights[static_cast<std::size_t>(row)] *
                            at(rank).experts[static_cast<std::size_t>(row * hidden_ + col)];
            },
            [&](std::int64_t row, float(&all)[1]) {
              float value = 0;
              std::memcpy(&value, back + (row * hidden_ + col) * 4, sizeof value);
              all[0] += value;
            });
        std::memcpy(to + (sums.targets[i] * hidden_ + col) * 4, total, sizeof total);
      }
  }

  void combine() {
    make_staging("combine");
    const auto each = [&](const auto& body) {
      for (std::int32_t r = 0; r < ranks(); ++r)
        body(r, of(r, op_named(r, "combine")), staging_[static_cast<std::size_t>(r)].leaving.data());
    };
    each([&](std::int32_t r, const NodeTables::Of& own, std::byte* leaving) { sum(r, own, own.before, leaving); });
    carry_round("combine", 0);
    each([&](std::int32_t r, const NodeTables::Of& own, std::byte* leaving) { sum(r, own, own.between, leaving); });
    carry_round("combine", 1);
    each([&](std::int32_t r, const NodeTables::Of& own, std::byte* /*leaving*/) {
      sum(r, own, own.after, bytes_in(at(r).sums).data());
    });
    expect_nothing_behind();
  }

  // ---- as the host does it

  void by_the_hosts_schedules(const std::string& kind) {
    const bool returns = kind == "combine";
    std::vector<runtime::RowTables> rows;
    std::vector<runtime::Schedule> schedules;
    rows.reserve(ends_.size());
    for (std::int32_t r = 0; r < ranks(); ++r) {
      rows.emplace_back(plan_, RankId(r));
      RankEnds& ends = at(r);
      runtime::CommunicationBuffers buffers;
      if (returns) {
        std::fill(ends.sums.begin(), ends.sums.end(), 0.F);
        buffers = {bytes_in(ends.experts), bytes_in(ends.sums), bytes_in(ends.weights), {}};
      } else {
        std::fill(ends.rows.begin(), ends.rows.end(), std::byte{});
        buffers = {ends.tokens, ends.rows, bytes_in(ends.routes), bytes_in(ends.weights)};
      }
      schedules.push_back(
          runtime::ScheduleBuilder(plan_, RankId(r), rows.back()).build(op_named(r, kind), buffers, step_));
      runtime::carry_out(schedules.back().before);
    }
    for (std::size_t round = 0; round < 2; ++round) {
      std::vector<OnWire> sends;
      std::vector<OnWire> receives;
      for (std::int32_t r = 0; r < ranks(); ++r) {
        for (const runtime::Message& one : schedules[static_cast<std::size_t>(r)].rounds.at(round).sends)
          sends.push_back({r, one.peer.value(), one.data, one.bytes});
        for (const runtime::Message& one : schedules[static_cast<std::size_t>(r)].rounds.at(round).receives)
          receives.push_back({one.peer.value(), r, one.data, one.bytes});
      }
      deliver(sends, receives);
      for (const runtime::Schedule& schedule : schedules) runtime::carry_out(schedule.rounds[round].work);
    }
  }

  const plan::Plan& plan_;
  runtime::NcclLowering lowering_;
  std::string name_;
  std::int64_t step_;
  std::int64_t element_;
  std::int64_t hidden_;
  NodeRow shape_;
  std::vector<RankEnds> ends_;
  std::vector<NodeTables> tables_;
  std::vector<Staging> staging_;
  std::mt19937 random_{11};
};

void every_layer_there_and_back(Strings settings) {
  settings.insert(settings.begin(), {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                                     R"(deployment.collectives={"exchange":"hierarchical"})"});
  const plan::Plan plan = small_plan(settings);
  ASSERT_NO_THROW(require_cuda_can_run(plan));
  for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
    for (std::int64_t layer = 0; layer < plan.scenario.model.layers; ++layer)
      for (std::int64_t batch = 0; batch < plan.scenario.deployment.micro_batches; ++batch) {
        ThereAndBack(plan, layer, batch, step).run_and_compare();
        if (testing::Test::HasFailure()) return;
      }
}

TEST(OncePerNode, IsTheHostsOnTwoNodes) {
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=32", "model.top_k=4"});
}

// 8 ranks on nodes of 3, 3 and 2 and 5 experts, so that three ranks are sources alone and one node has no gateway.
TEST(OncePerNode, IsTheHostsOnUnequalNodes) {
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":8})", "cluster.nodes=21", "model.experts=5",
                              "model.top_k=3", "workload.sequences=13"});
}

TEST(OncePerNode, IsTheHostsForSlicesAndMicroBatches) {
  every_layer_there_and_back({R"(deployment.attention={"tp":2,"dp":4})", "cluster.nodes=16", "model.experts=16",
                              "model.top_k=5", "workload.sequences=37", "deployment.micro_batches=2"});
}

// Nothing is passed on where all are on one node, or each on its own; and nothing is sent where there is one rank.
TEST(OncePerNode, IsTheHostsWhereOneRoundIsEmpty) {
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=1"});
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":4})", "cluster.nodes=64"});
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":1})"});
}

// Rows of 17 columns of two bytes and 3 weights are 46 bytes: weights stand at addresses that are no multiples of 4.
TEST(OncePerNode, WeightsTravelAtAnyAddress) {
  every_layer_there_and_back({R"(deployment.attention={"tp":1,"dp":8})", "cluster.nodes=32", "model.experts=16",
                              "model.top_k=3", "model.hidden=17", R"(model.dtype={"weights":"bf16"})"});
}

// By hand: row 0 of the experts twice, with what came back as row 1 between two visitors' sums.
TEST(OncePerNode, SumsAreInTheOrderOfTheirTerms) {
  const std::vector<std::int32_t> targets{0};
  const std::vector<std::int32_t> first_terms{0, 3};
  const std::vector<std::int32_t> terms{~1, 1, ~0};
  const std::vector<std::int32_t> first_uses{0, 1, 3};
  const std::vector<std::int32_t> uses{0, 2, 1};
  const NodeSums sums{1, targets.data(), first_terms.data(), terms.data(), first_uses.data(), uses.data()};
  std::string said;
  float total[1] = {};
  sum_terms(
      sums, 0, total,
      [&](std::int64_t row, float(&partial)[1]) {
        said += " e" + std::to_string(row);
        partial[0] += 1;
      },
      [&](std::int64_t row, float(&all)[1]) {
        said += " b" + std::to_string(row);
        all[0] += 10;
      });
  EXPECT_EQ(said, " e2 e1 b1 e0");
  EXPECT_EQ(total[0], 13);
}

// Staging is in the layout, and so in what is compared with the memory that is free: 4 ranks, 2 on a node, 2 tokens
// each with all 4 experts. A dispatched row has 32 columns of bf16 and 4 weights, 80 bytes; one that comes back 64. A
// rank's tokens go to its neighbour and to the other node, and it passes on the 2 of one rank there: 6 rows leave. It
// is visited by the tokens of all 4 ranks: 8 rows.
TEST(OncePerNode, HasRoomInTheLayout) {
  const plan::Plan plan =
      small_plan({R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                  R"(deployment.collectives={"exchange":"hierarchical"})", R"(deployment.attention={"tp":1,"dp":4})",
                  "cluster.nodes=32", "model.top_k=4", R"(model.dtype={"weights":"bf16"})"});
  const DeviceLayout layout =
      device_layout(plan, RankId(1), runtime::RowTables(plan, RankId(1)), 132, ExpertProducts::each);
  ASSERT_EQ(layout.leaving.size(), 1u);
  EXPECT_EQ(layout.leaving.front().bytes, 8 * 64);  // of the combine; the dispatch has 6 x 80
  EXPECT_EQ(layout.coming.front().bytes, 8 * 80);   // of the dispatch; the combine has 6 x 64
}

// Where tokens go to few of the experts, so that some visitors are only passed on, and some nodes are not visited.
TEST(OncePerNode, HasItsTablesCountedInTheLayout) {
  for (const char* top_k : {"model.top_k=1", "model.top_k=2", "model.top_k=4"})
    for (const char* cluster : {"cluster.nodes=32", "cluster.nodes=1"}) {
      const plan::Plan plan =
          small_plan({R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
                      R"(deployment.collectives={"exchange":"hierarchical"})",
                      R"(deployment.attention={"tp":1,"dp":4})", cluster, top_k, "workload.sequences=13",
                      R"(routing={"kind":"uniform","seed":3,"routed_steps":2})", R"(model.dtype={"weights":"bf16"})"});
      for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
        const runtime::RowTables tables(plan, RankId(r));
        const NodeTables of_nodes(plan, RankId(r));
        EXPECT_EQ(device_layout(plan, RankId(r), tables, 132, ExpertProducts::each).table_bytes,
                  4 * (IndexTables::count(plan, RankId(r), tables) + std::ssize(of_nodes.all())))
            << top_k << ", " << cluster << ", rank " << r;
      }
    }
}

}  // namespace
}  // namespace foretoken::test
