#include "calibrate/doctor/checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "sim/cost/compute_cost.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::calibrate {

namespace {

using sim::ComputeCost;
using sim::NetworkCost;

constexpr double kGiga = 1e9;
constexpr double kTera = 1e12;
// Large enough that launch floors do not count: milliseconds on any GPU of today.
constexpr std::int64_t kLarge = 8192;
constexpr std::int64_t kStreamed = 16384;
constexpr Bytes kLongMessage{256LL << 20};

// A GEMM that is all arithmetic.
Check large_gemm(const ComputeCost& cost, const std::string& framework, DType dtype, const DeviceSpec& device) {
  const double flops = 2.0 * kLarge * kLarge * kLarge;
  return {fmt::format("GEMM {} {}", framework, name_of(dtype)),
          Resource::arithmetic,
          framework,
          flops / cost.gemm(dtype, kLarge, kLarge, kLarge).time.value() / kTera,
          "TFLOP/s",
          device.peak(dtype)->value() / kTera,
          {}};
}

// And one that is all weights: 16 rows.
Check streamed_weights(const ComputeCost& cost, const std::string& framework, DType dtype, const DeviceSpec& device) {
  const double bytes = static_cast<double>(bytes_per_element(dtype)) * kStreamed * kStreamed;
  return {fmt::format("weights {} {}", framework, name_of(dtype)),
          Resource::memory,
          framework,
          bytes / cost.gemm(dtype, 16, kStreamed, kStreamed).time.value() / kGiga,
          "GB/s",
          device.memory_bandwidth.value() / kGiga,
          {}};
}

Check kv_cache(const ComputeCost& cost, const std::string& framework, const DeviceSpec& device) {
  sim::AttentionShape shape;
  shape.batch = 256;
  shape.context = kLarge;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.head_dim = 128;
  const double bytes = 2.0 * 2.0 * 256 * kLarge * 8 * 128;
  return {fmt::format("KV cache {} bf16", framework),
          Resource::memory,
          framework,
          bytes / cost.attention_decode(shape).time.value() / kGiga,
          "GB/s",
          device.memory_bandwidth.value() / kGiga,
          {}};
}

void add_compute(const Patient& patient, std::vector<Check>& checks) {
  const ComputeCalibration& compute = patient.calibration.compute;
  checks.push_back({"element-wise kernels",
                    Resource::memory,
                    "",
                    compute.memory.bandwidth.value() / kGiga,
                    "GB/s",
                    patient.device.memory_bandwidth.value() / kGiga,
                    {}});
  std::set<std::string> frameworks;
  for (const GemmFit& fit : compute.gemm)
    if (fit.dtype == DType::bf16) frameworks.insert(fit.framework);
  for (const std::string& framework : frameworks) {
    const ComputeCost cost(compute, patient.device, framework);
    for (const GemmFit& fit : compute.gemm) {
      if (fit.framework != framework || !patient.device.peak(fit.dtype)) continue;
      checks.push_back(large_gemm(cost, framework, fit.dtype, patient.device));
      checks.push_back(streamed_weights(cost, framework, fit.dtype, patient.device));
    }
    const auto own = [&](const AttentionFit& fit) { return fit.framework == framework && fit.kv_dtype == DType::bf16; };
    if (std::any_of(compute.attention_decode.begin(), compute.attention_decode.end(), own))
      checks.push_back(kv_cache(cost, framework, patient.device));
  }
}

Check link(const std::string& name, Resource resource, const LinkCalibration& link) {
  return {
      name, resource, "", link.payload_efficiency * link.nominal.value() / kGiga, "GB/s", link.nominal.value() / kGiga,
      {}};
}

// As nccl-tests counts it: 2 (n-1)/n of the buffer over the time.
Check all_reduce(const NetworkCost& cost, const std::string& name, Resource resource, CollectiveAlgorithm algorithm,
                 int ranks, int nodes) {
  const Seconds time = cost.collective(CollectiveOp::all_reduce, algorithm, ranks, nodes, kLongMessage).total();
  const double bus_bytes = 2.0 * (ranks - 1) / ranks * static_cast<double>(kLongMessage.value());
  return {name, resource, "", bus_bytes / time.value() / kGiga, "GB/s", {}, {}};
}

Check latency(const std::string& name, Seconds time) {
  return {name, Resource::latency, "", time.value() * 1e6, "us", {}, {}};
}

void add_network(const Patient& patient, std::vector<Check>& checks) {
  const NetworkCalibration& network = patient.calibration.network;
  const NetworkCost cost(network);
  checks.push_back(link("NVLink", Resource::nvlink, network.nvlink));
  checks.push_back(all_reduce(cost, "all-reduce, ring, 8 GPUs", Resource::nvlink, CollectiveAlgorithm::ring, 8, 1));
  checks.push_back(all_reduce(cost, "all-reduce, NVLS, 8 GPUs", Resource::nvlink, CollectiveAlgorithm::nvls, 8, 1));
  checks.push_back(link("PCIe to the NIC", Resource::network, network.pcie));
  checks.push_back(link("NIC", Resource::network, network.infiniband));
  checks.push_back({"dispatch over the NIC",
                    Resource::network,
                    "",
                    network.dispatch.rate_across_nodes.value() / kGiga,
                    "GB/s",
                    network.infiniband.nominal.value() / kGiga,
                    {}});
  checks.push_back({"combine over the NIC",
                    Resource::network,
                    "",
                    network.combine.rate_across_nodes.value() / kGiga,
                    "GB/s",
                    network.infiniband.nominal.value() / kGiga,
                    {}});
  checks.push_back(latency("message in a node", network.message_in_node.latency));
  checks.push_back(latency("message between nodes", network.message_across_nodes.latency));
  checks.push_back(latency("dispatch between nodes", network.dispatch.latency_across_nodes));
}

}  // namespace

std::vector<Check> checks_of(const Patient& patient) {
  std::vector<Check> checks;
  add_compute(patient, checks);
  add_network(patient, checks);
  return checks;
}

}  // namespace foretoken::calibrate
