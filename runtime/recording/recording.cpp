#include "runtime/recording/recording.hpp"

#include <fmt/format.h>

#include <iterator>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "plan/program/resolve.hpp"
#include "plan/program/wire_rows.hpp"
#include "runtime/step_order.hpp"

namespace foretoken::runtime {
namespace {

constexpr std::int64_t kRecordedRanksMax = 1'024;

// What the model's router will decide nobody knows beforehand. Both ends of a message learn its size in the same way,
// so one routing is as good as another.
plan::Routing routing_of(const plan::Plan& plan) {
  if (plan.routing.known()) return plan.routing;
  plan::RoutingSpec spec = plan.scenario.routing;
  spec.kind = plan::RoutingKind::uniform;
  const plan::ModelSpec& model = plan.scenario.model;
  return plan::Routing(spec, model.layers, model.experts, model.top_k);
}

class Recorder {
 public:
  explicit Recorder(const plan::Plan& plan)
      : plan_(plan),
        lowering_(plan),
        routing_(routing_of(plan)),
        counter_(plan.placement, routing_, plan.scenario.model.experts),
        wire_(plan, counter_, plan::NodeRows::Legs::apart) {
    for (const plan::Role& role : plan.program.roles) orders_.push_back(step_order(role));
  }

  Recording run() {
    Recording recording;
    recording.steps = routing_.routed_steps() + 1;
    recording.families = lowering_.families();
    recording.ranks.resize(static_cast<std::size_t>(plan_.program.ranks));
    for (std::int64_t step = 0; step < recording.steps; ++step)
      for (std::int32_t r = 0; r < plan_.program.ranks; ++r)
        record_step(RankId(r), step, recording.ranks[static_cast<std::size_t>(r)]);
    return recording;
  }

 private:
  void record_step(RankId rank, std::int64_t step, RankLog& log) {
    const std::vector<plan::Op>& ops = plan_.program.role_of(rank).ops;
    std::map<std::tuple<std::int16_t, std::int16_t, std::int16_t>, std::int32_t> counts;  // exchanged in this step
    const StepOrder& order = orders_[static_cast<std::size_t>(plan_.program.role_of_rank[rank.index()])];
    for (const QueuedOp& queued : order.ops) {
      const plan::Op& op = ops[queued.op.index()];
      RecordedOp entry{static_cast<std::int32_t>(step), queued.op, order.streams[queued.stream], -1, -1, {}, {}};
      for (const plan::Dependency& wait : queued.waits)
        if (wait.distance <= step)
          entry.waits.push_back(static_cast<std::int32_t>((step - wait.distance) * std::ssize(ops) + wait.op.value()));
      if (is_communication(op.kind)) {
        NcclOperation operation = lowering_.operation(rank, op, rows_of(rank, op, step % routing_.routed_steps()));
        entry.family = operation.calls.empty() ? -1 : operation.family;
        entry.calls = std::move(operation.calls);
      }
      const std::tuple place(op.layer, op.micro_batch, op.chunk);
      if (op.kind == plan::OpKind::exchange_counts) counts[place] = static_cast<std::int32_t>(log.size());
      if (const auto found = counts.find(place); op.kind == plan::OpKind::dispatch && found != counts.end())
        entry.host_waits_for = found->second;
      log.push_back(std::move(entry));
    }
  }

  ExchangeRows rows_of(RankId rank, const plan::Op& op, std::int64_t routed_step) {
    ExchangeRows rows;
    if (op.kind != plan::OpKind::dispatch && op.kind != plan::OpKind::combine) return rows;
    const std::int64_t ep = plan_.scenario.deployment.ep;
    const std::int64_t own = plan_.placement.ep_index_of(rank);
    for (auto* side : {&rows.to, &rows.from, &rows.passed_to, &rows.passed_from})
      side->assign(static_cast<std::size_t>(ep), 0);
    if (plan::sends_once_per_node(plan_)) {
      add_hops(rows, hops_of(op, rank.value() / ep, routed_step), static_cast<std::int32_t>(own));
      return rows;
    }
    for (const plan::PairRows& pair :
         counter_.rows(routed_step, op.layer, op.micro_batch, op.chunk, rank.value() / ep).pairs) {
      if (pair.source == own) rows.to[static_cast<std::size_t>(pair.host)] = pair.rows;
      if (pair.host == own) rows.from[static_cast<std::size_t>(pair.source)] = pair.rows;
    }
    return rows;
  }

  // Rows of a dispatch by pair and round; its combine's go the same ways.
  using Hops = std::vector<plan::PairRows>;
  const Hops& hops_of(const plan::Op& op, std::int64_t instance, std::int64_t routed_step) {
    const auto [known, added] = hops_.try_emplace({routed_step, op.layer, op.micro_batch, op.chunk, instance});
    if (!added) return known->second;
    plan::Communication dispatch;
    dispatch.kind = plan::OpKind::dispatch;
    dispatch.layer = op.layer;
    dispatch.micro_batch = op.micro_batch;
    dispatch.chunk = op.chunk;
    return known->second = wire_.rows(dispatch, instance, routed_step).pairs;
  }

  void add_hops(ExchangeRows& rows, const Hops& hops, std::int32_t own) const {
    const auto at = [](std::int32_t peer) { return static_cast<std::size_t>(peer); };
    for (const plan::PairRows& hop : hops) {
      if (hop.source == hop.host) continue;
      if (hop.source == own) (hop.round == 0 ? rows.to : rows.passed_to)[at(hop.host)] = hop.rows;
      if (hop.host == own) (hop.round == 0 ? rows.from : rows.passed_from)[at(hop.source)] = hop.rows;
    }
  }

  const plan::Plan& plan_;
  NcclLowering lowering_;
  std::vector<StepOrder> orders_;  // [role]
  plan::Routing routing_;
  plan::RowCounter counter_;
  plan::WireRows wire_;
  std::map<std::tuple<std::int64_t, std::int16_t, std::int16_t, std::int16_t, std::int64_t>, Hops> hops_;
};

}  // namespace

Recording record(const plan::Plan& plan) {
  if (plan.program.ranks > kRecordedRanksMax)
    throw Error(ErrorCode::invalid_input, fmt::format("{} ranks are more than the {} whose calls of NCCL are recorded",
                                                      plan.program.ranks, kRecordedRanksMax));
  return Recorder(plan).run();
}

}  // namespace foretoken::runtime
