// The closed forms of what a communication op does are what the runtime's schedules do.
#include "sim/communication/host_schedule_amounts.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "calibrate/measure/communication_probe.hpp"
#include "calibrate/measure/probe_plan.hpp"
#include "runtime/schedule.hpp"

namespace foretoken::calibrate {
namespace {

using Settings = std::vector<std::string>;

HostTerms counted(const runtime::Schedule& schedule) {
  HostTerms terms;
  terms[HostTerm::communication_ops] = 1;
  const auto add_work = [&](const std::vector<runtime::LocalWork>& work) {
    for (const runtime::LocalWork& piece : work)
      terms[piece.kind == runtime::LocalWork::Kind::add ? HostTerm::communication_added
                                                        : HostTerm::communication_copied] +=
          static_cast<double>(piece.bytes);
  };
  add_work(schedule.before);
  for (const runtime::Round& round : schedule.rounds) {
    terms[HostTerm::communication_rounds] += round.sends.empty() && round.receives.empty() ? 0 : 1;
    for (const auto* messages : {&round.sends, &round.receives})
      for (const runtime::Message& message : *messages) {
        terms[HostTerm::communication_messages] += 1;
        terms[HostTerm::communication_bytes] += static_cast<double>(message.bytes);
      }
    add_work(round.work);
  }
  return terms;
}

void expect_equal(const HostTerms& expected, const HostTerms& found, const std::string& what) {
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    const auto term = static_cast<HostTerm>(t);
    EXPECT_NEAR(expected[term], found[term], 1e-9 * (1 + found[term])) << what << ": " << kHostTerms[t].name;
  }
}

// The schedule of a rank's op; routed step 0.
runtime::Schedule schedule_of(const plan::Plan& plan, RankId rank, const plan::Op& op) {
  runtime::RowTables tables(plan, rank);
  const plan::Role& role = plan.program.role_of(rank);
  std::vector<std::vector<std::byte>> rooms;
  const auto room = [&](const std::vector<TensorId>& tensors) -> std::span<std::byte> {
    if (tensors.empty()) return {};
    const plan::Tensor& tensor = role.tensors[tensors.front().index()];
    rooms.emplace_back(static_cast<std::size_t>(tensor.stack * tables.rows_max(tensor.rows) * tensor.cols) * 4);
    return rooms.back();
  };
  runtime::CommunicationBuffers buffers;
  buffers.in = room(op.inputs);
  buffers.out = room(op.outputs);
  runtime::ScheduleBuilder builder(plan, rank, tables);
  return builder.build(op, buffers, 0);
}

// Mean over ranks of the ops of one kind: where parts are uneven the closed form is the mean.
HostTerms mean_of(const plan::Plan& plan, plan::OpKind kind, Bytes& bytes) {
  HostTerms sum;
  double ops = 0;
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    for (const plan::Op& op : plan.program.role_of(RankId(r)).ops) {
      if (op.kind != kind || op.layer != 0) continue;
      sum += counted(schedule_of(plan, RankId(r), op));
      const auto& detail = std::get<plan::CollectiveOpDetail>(op.detail);
      bytes = Bytes(detail.rows * detail.cols * 4);
      ++ops;
      break;
    }
  }
  HostTerms mean;
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    mean[static_cast<HostTerm>(t)] = sum[static_cast<HostTerm>(t)] / ops;
  return mean;
}

TEST(HostScheduleAmounts, CollectivesAreThoseOfTheRuntime) {
  for (std::int64_t members = 2; members <= 8; ++members) {
    for (const CollectiveAlgorithm algorithm : {CollectiveAlgorithm::ring, CollectiveAlgorithm::direct}) {
      // 9 rows: uneven parts for most numbers of members, but none empty.
      Settings settings{"workload.sequences=9",
                        fmt::format("model.heads={}", members),
                        fmt::format("deployment.attention.tp={}", members),
                        fmt::format("deployment.experts.ep={}", members),
                        fmt::format("model.experts={}", 2 * members),
                        fmt::format("deployment.collectives.all_reduce={}", name_of(algorithm)),
                        fmt::format("deployment.collectives.all_gather={}", name_of(algorithm)),
                        fmt::format("deployment.collectives.reduce_scatter={}", name_of(algorithm))};
      for (const bool dispatch : {false, true}) {
        if (dispatch) settings.emplace_back("deployment.experts.exchange=dispatch");
        const plan::Plan plan = probe_plan("test", settings);
        for (const CollectiveOp op :
             {CollectiveOp::all_reduce, CollectiveOp::all_gather, CollectiveOp::reduce_scatter}) {
          if (dispatch == (op == CollectiveOp::all_reduce)) continue;
          const plan::OpKind kind = op == CollectiveOp::all_reduce   ? plan::OpKind::all_reduce
                                    : op == CollectiveOp::all_gather ? plan::OpKind::all_gather
                                                                     : plan::OpKind::reduce_scatter;
          Bytes bytes;
          const HostTerms found = mean_of(plan, kind, bytes);
          ASSERT_GT(bytes.value(), 0) << "the plan has such an op";
          expect_equal(sim::host_collective_amounts(op, algorithm, members, bytes), found,
                       fmt::format("{} {} of {}", name_of(algorithm), name_of(op), members));
        }
      }
    }
  }
}

TEST(HostScheduleAmounts, AMemberAloneCopies) {
  // all_reduce by ring among one: its output becomes a copy of its input, 4 KB.
  const HostTerms terms =
      sim::host_collective_amounts(CollectiveOp::all_reduce, CollectiveAlgorithm::ring, 1, Bytes(4096));
  EXPECT_EQ(terms[HostTerm::communication_rounds], 0);
  EXPECT_EQ(terms[HostTerm::communication_messages], 0);
  EXPECT_EQ(terms[HostTerm::communication_bytes], 0);
  EXPECT_EQ(terms[HostTerm::communication_copied], 4096);
}

TEST(HostScheduleAmounts, ExchangesAreThoseOfTheRuntime) {
  for (std::int64_t ranks = 2; ranks <= 8; ++ranks) {
    const plan::Plan plan = probe_plan(
        "test", {"deployment.experts.exchange=dispatch", fmt::format("deployment.attention.dp={}", ranks),
                 fmt::format("deployment.experts.ep={}", ranks), fmt::format("workload.sequences={}", 2 * ranks),
                 fmt::format("model.experts={}", 2 * ranks)});
    for (std::int32_t r = 0; r < ranks; ++r) {
      const RankId rank(r);
      for (const plan::Op& op : plan.program.role_of(rank).ops) {
        if (op.kind != plan::OpKind::dispatch && op.kind != plan::OpKind::combine) continue;
        expect_equal(communication_amounts(plan, rank, op, 0), counted(schedule_of(plan, rank, op)), op.name);
      }
    }
  }
}

// Of capacity all slots and headers travel, of exact the numbers of rows too. What is copied into slots and out of them
// is left out, as the simulator leaves it out: it is part of what a byte costs.
TEST(HostScheduleAmounts, ExchangesMoveWhatTheirModePutsOnTheWire) {
  for (const char* mode : {"capacity", "exact"}) {
    const plan::Plan plan = probe_plan(
        "test", {"deployment.experts.exchange=dispatch", "deployment.attention.dp=4", "deployment.experts.ep=4",
                 "workload.sequences=8", "model.experts=8", fmt::format("deployment.experts.dispatch_mode={}", mode)});
    int exchanges = 0;
    for (std::int32_t r = 0; r < 4; ++r)
      for (const plan::Op& op : plan.program.role_of(RankId(r)).ops) {
        if (!plan::is_exchange(op.kind)) continue;
        ++exchanges;
        const HostTerms amounts = communication_amounts(plan, RankId(r), op, 0);
        const HostTerms found = counted(schedule_of(plan, RankId(r), op));
        for (const HostTerm term : {HostTerm::communication_messages, HostTerm::communication_bytes})
          EXPECT_EQ(amounts[term], found[term]) << mode << " " << op.name;
      }
    EXPECT_GT(exchanges, 0);
  }
}

TEST(HostScheduleAmounts, TransfersAreThoseOfTheRuntime) {
  const plan::Plan plan = probe_plan("test", {"deployment.pipeline.stages=2"});
  std::set<plan::OpKind> seen;
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    for (const plan::Op& op : plan.program.role_of(RankId(r)).ops) {
      const auto* detail = std::get_if<plan::TransferOp>(&op.detail);
      if (detail == nullptr) continue;
      seen.insert(op.kind);
      expect_equal(sim::host_transfer_amounts(Bytes(detail->rows * detail->cols * 4)),
                   counted(schedule_of(plan, RankId(r), op)), op.name);
    }
  }
  EXPECT_EQ(seen, (std::set{plan::OpKind::send, plan::OpKind::recv}));
}

}  // namespace
}  // namespace foretoken::calibrate
