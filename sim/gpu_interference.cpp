#include "sim/gpu_interference.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "sim/communication/meetings.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::sim {
namespace {

std::int64_t collective_sms(const InterferenceCalibration& sms, CollectiveAlgorithm algorithm, bool across_nodes) {
  switch (algorithm) {
    case CollectiveAlgorithm::nvls:
    case CollectiveAlgorithm::nvls_tree: return sms.nvls;
    case CollectiveAlgorithm::direct: return sms.direct;
    case CollectiveAlgorithm::ring:
    case CollectiveAlgorithm::tree: break;
  }
  return across_nodes ? sms.collective_across_nodes : sms.collective_in_node;
}

}  // namespace

bool overlaps(const plan::Program& program) {
  return std::any_of(program.roles.begin(), program.roles.end(), [](const plan::Role& role) { return overlaps(role); });
}

GpuInterference::GpuInterference(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
                                 std::string framework, plan::RowCounter& rows)
    : plan_(plan), machine_(machine), calibration_(calibration), framework_(std::move(framework)), rows_(rows) {
  FORETOKEN_CHECK(!machine.is_host(), "a host has no SMs");
}

KernelInterference GpuInterference::kernels() {
  return {[this](RankId rank, OpId op) { return sms_of(rank, op); },
          [this](RankId rank, OpId op, std::int64_t step, std::int64_t held) { return speed_of(rank, op, step, held); },
          calibration_.interference.provenance};
}

std::int64_t GpuInterference::sms_of(RankId rank, OpId id) const {
  const InterferenceCalibration& sms = calibration_.interference;
  const plan::Program& program = plan_.program;
  const plan::Op& op = program.role_of(rank).ops[id.index()];
  const auto node = [&](RankId of) { return machine_.node_of(of); };
  if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) {
    const RankId peer(rank.value() + static_cast<std::int32_t>(transfer->peer_offset));
    return node(peer) == node(rank) ? sms.message_in_node : sms.message_across_nodes;
  }
  const plan::Communication& communication = program.communications[communication_of(op).index()];
  const plan::GroupFamily& group = program.groups[communication.group.index()];
  if (group.size == 1) return 0;
  const bool exchanges = is_exchange(communication.kind);
  if (exchanges && plan_.scenario.deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical)
    return kHierarchicalSms;
  if (exchanges && communication.kind != plan::OpKind::combine) return sms.dispatch;
  if (communication.kind == plan::OpKind::combine) return sms.combine;
  bool across = false;
  for (std::int64_t member = 0; member < group.size; ++member)
    across = across || node(group.member(rank, member)) != node(rank);
  return collective_sms(sms, communication.algorithm, across);
}

GpuInterference::Device& GpuInterference::device_without(std::int64_t held) {
  std::unique_ptr<Device>& device = devices_[held];
  if (device) return *device;
  DeviceSpec spec = machine_.device();
  const double share = static_cast<double>(spec.sms - held) / spec.sms;
  for (auto& peak : spec.peak_flops)
    if (peak) peak = *peak * share;
  spec.sms -= static_cast<int>(held);
  device = std::make_unique<Device>(*this, spec);
  return *device;
}

double GpuInterference::speed_of(RankId rank, OpId op, std::int64_t step, std::int64_t held) {
  held = std::min<std::int64_t>(held, machine_.device().sms - 1);
  if (held <= 0) return 1.0;
  const std::int64_t routed_step = step % plan_.routing.routed_steps();
  const Seconds alone = device_without(0).durations.of(rank, op, routed_step).time;
  const Seconds crowded = device_without(held).durations.of(rank, op, routed_step).time;
  return crowded > alone ? ratio(alone, crowded) : 1.0;
}

}  // namespace foretoken::sim
