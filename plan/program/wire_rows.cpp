#include "plan/program/wire_rows.hpp"

namespace foretoken::plan {

WireRows::WireRows(const Plan& plan, RowCounter& rows, NodeRows::Legs legs) : plan_(plan), rows_(rows) {
  if (sends_once_per_node(plan)) node_rows_.emplace(plan, rows, legs);
}

const RoutedRows& WireRows::rows(const Communication& communication, std::int64_t instance, std::int64_t routed_step) {
  if (node_rows_) return node_rows_->rows(communication, instance, routed_step);
  const RoutedRows& useful =
      rows_.rows(routed_step, communication.layer, communication.micro_batch, communication.chunk, instance);
  const bool counts = communication.kind == OpKind::exchange_counts;
  if (communication.slots == 0 && !counts) return useful;

  routed_.rows_of_expert = useful.rows_of_expert;
  routed_.pairs.clear();
  const std::int64_t ep = plan_.scenario.deployment.ep;
  const Range sources = communication.chunk < 0 ? Range{0, ep} : plan_.placement.chunk_sources(communication.chunk);
  auto next = useful.pairs.begin();
  for (std::int64_t source = sources.begin; source < sources.end; ++source) {
    for (std::int64_t host = 0; host < ep; ++host) {
      PairRows pair{static_cast<std::int32_t>(source), static_cast<std::int32_t>(host), 0};
      if (next != useful.pairs.end() && next->source == pair.source && next->host == pair.host)
        pair.rows = (next++)->rows;
      const auto experts = static_cast<std::int64_t>(plan_.placement.experts_on(communication.layer, host).size());
      if (experts == 0) continue;
      if (counts) pair.rows = experts;
      else if (source != host)
        pair.rows = communication.slots + (communication.kind == OpKind::dispatch ? communication.header_rows : 0);
      if (pair.rows > 0) routed_.pairs.push_back(pair);
    }
  }
  return routed_;
}

ExchangeVolume exchange_volume(const Plan& plan) {
  ExchangeVolume volume;
  if (plan.scenario.deployment.exchange != ExpertExchange::dispatch) return volume;
  RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  WireRows wire(plan, counter);
  NodeWays ways(plan);
  const bool once_per_node = sends_once_per_node(plan);
  const auto moved = [](const RoutedRows& routed) {
    std::int64_t rows = 0;
    for (const PairRows& pair : routed.pairs)
      if (pair.source != pair.host) rows += pair.rows;
    return static_cast<double>(rows);
  };
  const auto crossed = [&](const RoutedRows& routed) {
    std::int64_t rows = 0;
    for (const PairRows& pair : routed.pairs)
      if (ways.node_of(pair.source) != ways.node_of(pair.host)) rows += pair.rows;
    return static_cast<double>(rows);
  };
  const std::int64_t steps = plan.routing.routed_steps();
  for (const Communication& c : plan.program.communications) {
    const bool counts = c.kind == OpKind::exchange_counts;
    if (!is_exchange(c.kind)) continue;
    const double element_bytes = static_cast<double>(bytes_per_element(c.dtype)) / static_cast<double>(steps);
    const double row_bytes = element_bytes * static_cast<double>(counts ? 1 : plan.scenario.model.hidden);
    const bool weighed = once_per_node && c.kind == OpKind::dispatch;
    const double wire_bytes =
        row_bytes + (weighed ? element_bytes * static_cast<double>(weight_cols(plan.scenario.model)) : 0);
    const std::int64_t per_stage = plan.scenario.deployment.ranks_per_stage() / plan.scenario.deployment.ep;
    const std::int64_t first = plan.placement.stage_of_layer(c.layer) * per_stage;
    for (std::int64_t instance = first; instance < first + per_stage; ++instance) {
      if (once_per_node) ways.enter(instance, c.layer);
      for (std::int64_t step = 0; step < steps; ++step) {
        const RoutedRows& sent = wire.rows(c, instance, step);
        if (counts) {
          volume.counts += wire_bytes * moved(sent);
          continue;
        }
        volume.wire += wire_bytes * moved(sent);
        if (once_per_node) volume.wire_across += wire_bytes * crossed(sent);
        const RoutedRows& useful = counter.rows(step, c.layer, c.micro_batch, c.chunk, instance);
        volume.useful += row_bytes * moved(useful);
        if (once_per_node) volume.useful_across += row_bytes * crossed(useful);
      }
    }
  }
  return volume;
}

std::optional<ExchangeVolume> summary_volume(const Plan& plan) {
  constexpr double kDrawsMax = 2e7;
  const Scenario& scenario = plan.scenario;
  const double draws = static_cast<double>(scenario.workload.sequences) * static_cast<double>(scenario.model.top_k) *
                       static_cast<double>(scenario.model.layers) * static_cast<double>(scenario.routing.routed_steps);
  if (scenario.deployment.exchange != ExpertExchange::dispatch || !plan.routing.known() || draws > kDrawsMax)
    return std::nullopt;
  return exchange_volume(plan);
}

}  // namespace foretoken::plan
