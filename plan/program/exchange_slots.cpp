#include "plan/program/exchange_slots.hpp"

#include <algorithm>

namespace foretoken::plan {

// A token's experts are distinct, so a host gets at most as many of its rows as it has experts: whatever the routing,
// nothing needs more slots than this. The largest source and host decide, so that all messages are of one size.
ExchangeSlots exchange_slots(const Scenario& scenario, const Placement& placement, std::int64_t layer,
                             std::int64_t micro_batch, OpKind kind) {
  const ModelSpec& model = scenario.model;
  ExchangeSlots slots;
  if (scenario.deployment.dispatch_mode != DispatchMode::capacity) return slots;
  std::int64_t experts_most = 0;
  for (std::int64_t host = 0; host < scenario.deployment.ep; ++host)
    experts_most = std::max(experts_most, static_cast<std::int64_t>(placement.experts_on(layer, host).size()));
  const std::int64_t tokens_most = placement.slice(0, micro_batch, 0).size();
  slots.slots = tokens_most * std::min(model.top_k, experts_most);
  if (kind == OpKind::dispatch && slots.slots > 0) {
    const std::int64_t row_bytes = model.hidden * bytes_per_element(model.dispatch_dtype);
    slots.header_rows = (experts_most * bytes_per_element(DType::int32) + row_bytes - 1) / row_bytes;
  }
  return slots;
}

double staged_bytes(const Role& role, const Op& op, const Scenario& scenario, const Placement& placement) {
  if (op.kind != OpKind::dispatch && op.kind != OpKind::combine) return 0;
  const auto& detail = std::get<ExchangeOp>(op.detail);
  const ExchangeSlots slots = exchange_slots(scenario, placement, op.layer, op.micro_batch, op.kind);
  if (slots.slots == 0) return 0;
  const std::int64_t ep = scenario.deployment.ep;
  const std::int64_t own = placement.ep_index_of(role.ranks.front());
  const Range sources = op.chunk < 0 ? Range{0, ep} : placement.chunk_sources(op.chunk);
  std::int64_t messages = 0;
  for (std::int64_t peer = 0; peer < ep; ++peer) {
    if (peer == own) continue;
    messages += detail.source && !placement.experts_on(op.layer, peer).empty() ? 1 : 0;
    messages += detail.host && peer >= sources.begin && peer < sources.end ? 1 : 0;
  }
  return static_cast<double>(messages) * static_cast<double>(slots.slots + slots.header_rows) *
         static_cast<double>(detail.cols * bytes_per_element(op.dtype));
}

}  // namespace foretoken::plan
