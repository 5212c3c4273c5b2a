#include "tools/cli/doctor_live_expected.hpp"

#include <algorithm>

#include "plan/program/program.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/host_cost.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::cli {

LiveExpected::LiveExpected(const plan::Machine* machine, const Calibration* calibration,
                           const runtime::HealthReadings& readings, std::int64_t core_product)
    : machine_(machine),
      calibration_(calibration),
      readings_(readings),
      core_product_(core_product),
      knows_links_(machine != nullptr && machine->gpus() == static_cast<std::int64_t>(readings.node_of_rank.size()) &&
                   machine->nodes() == static_cast<std::int64_t>(readings.hosts.size())),
      gpus_(!readings.gpus.empty()) {}

std::optional<double> LiveExpected::product() const {
  const std::int64_t n = core_product_;
  const double flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  if (of_gpus()) {
    if (machine_ == nullptr) return std::nullopt;
    const sim::ComputeCost cost(calibration_->compute, machine_->device());
    return cost.gemm(DType::bf16, n, n, n).time.value() / flops;
  }
  if (calibration_ == nullptr || !calibration_->host || gpus_) return std::nullopt;
  plan::Role role;
  for (const plan::TensorKind kind :
       {plan::TensorKind::activation, plan::TensorKind::weight, plan::TensorKind::activation}) {
    plan::Tensor tensor;
    tensor.kind = kind;
    tensor.dtype = DType::fp32;
    tensor.rows = plan::Extent::fixed(n);
    tensor.cols = n;
    role.tensors.push_back(tensor);
  }
  plan::Op op;
  op.kind = plan::OpKind::gemm;
  op.dtype = DType::fp32;
  op.detail = plan::GemmOp{plan::Extent::fixed(n), n, n};
  op.inputs = {TensorId(0), TensorId(1)};
  op.outputs = {TensorId(2)};
  role.ops.push_back(op);
  const sim::HostCost cost(*calibration_->host, "", 1);
  return cost.compute(role, role.ops.front(), {}, Bytes(3 * n * n * 4)).alone.value() / flops;
}

std::optional<double> LiveExpected::per_byte(RankId from, RankId to) const {
  if (of_gpus()) {
    // What a long message takes longer than one of half its size.
    constexpr Bytes longer(std::int64_t{64} << 20);
    constexpr Bytes shorter(std::int64_t{32} << 20);
    return (message(from, to, longer) - message(from, to, shorter)).value() /
           static_cast<double>((longer - shorter).value());
  }
  if (!knows_links_ || calibration_ == nullptr || gpus_) return std::nullopt;
  return narrowest(from, to) / payload();
}

std::optional<double> LiveExpected::latency(RankId from, RankId to) const {
  constexpr Bytes shortest(8);
  if (of_gpus()) return message(from, to, shortest).value();
  const HostNetwork* const network = host_network();
  if (!knows_links_ || network == nullptr || gpus_) return std::nullopt;
  double time = network->latency.value();
  for (const LinkId link : machine_->route(from, to)) time += machine_->links()[link.index()].latency.value();
  const double bytes = static_cast<double>(shortest.value()) + static_cast<double>(network->overhead.value());
  return time + bytes * narrowest(from, to) / payload();
}

double LiveExpected::payload() const {
  const HostNetwork* const network = host_network();
  return network == nullptr ? 1 : network->payload;
}

double LiveExpected::narrowest(RankId from, RankId to) const {
  double cost = 0;
  for (const LinkId link : machine_->route(from, to))
    cost = std::max(cost, 1 / machine_->links()[link.index()].bandwidth.value());
  return cost;
}

const HostNetwork* LiveExpected::host_network() const {
  const bool known = calibration_ != nullptr && calibration_->host && calibration_->host->network;
  return known ? &*calibration_->host->network : nullptr;
}

Seconds LiveExpected::message(RankId from, RankId to, Bytes bytes) const {
  const bool same_node = readings_.node_of_rank[from.index()] == readings_.node_of_rank[to.index()];
  return sim::NetworkCost(calibration_->network)
      .message(same_node ? sim::Span::in_node : sim::Span::across_nodes, bytes)
      .total();
}

}  // namespace foretoken::cli
