#include "tools/cli/doctor_live_names.hpp"

#include <fmt/format.h>

namespace foretoken::cli {
namespace {

constexpr LiveCauses kOfCores{
    "the node's cores are shared with other work, limited (cgroup quota), throttled or clocked low: look at top, "
    "cpu.max and cpupower there",
    "the node's NIC or cable runs at a lower rate, or its port drops frames: look at ethtool or ibstat there, and at "
    "the switch's counters",
    "the way between the two has a slower or crowded link: look at the switches' counters, and at routes",
    "memory of a far NUMA node, or a busy core: look at numactl and at the ranks' binding",
    "a slow rank or link among these ranks, or ranks that share what others have alone"};

constexpr LiveCauses kOfGpus{
    "the GPU is throttled (power, heat), clocked low, or used by others: look at nvidia-smi -q -d PERFORMANCE,CLOCK "
    "and "
    "at its processes there",
    "the NIC or its cable runs at a lower rate, its port has errors, or the GPU reaches it without GPUDirect: look at "
    "ibstat and at nvidia-smi topo -m there, and at the switch's counters",
    "the way between the two has a slower or crowded link: look at the switches' counters, and at adaptive routing",
    "links of its NVLink are down, or messages go by PCIe: look at nvidia-smi nvlink --status and at NCCL_DEBUG=INFO",
    "a slow GPU or link among these ranks, or ranks that share a NIC that others have alone"};

const runtime::GpuPlace* gpu_of(const runtime::HealthReadings& readings, RankId rank) {
  return readings.gpus.empty() ? nullptr : &readings.gpus[rank.index()];
}

}  // namespace

const LiveCauses& causes_of(const runtime::HealthReadings& readings) {
  return readings.gpus.empty() ? kOfCores : kOfGpus;
}

std::string node_name(const runtime::HealthReadings& readings, std::int32_t node) {
  const std::string& host = readings.hosts[static_cast<std::size_t>(node)];
  return host == fmt::format("node{}", node) ? fmt::format("node {}", node) : fmt::format("node {} ({})", node, host);
}

std::string rank_name(const runtime::HealthReadings& readings, RankId rank) {
  std::string name =
      fmt::format("rank {} on {}", rank.value(), node_name(readings, readings.node_of_rank[rank.index()]));
  if (const runtime::GpuPlace* const gpu = gpu_of(readings, rank))
    name += fmt::format(", GPU {} ({})", gpu->index, gpu->pci);
  return name;
}

std::string link_end_name(const runtime::HealthReadings& readings, RankId rank) {
  const std::string node = node_name(readings, readings.node_of_rank[rank.index()]);
  const runtime::GpuPlace* const gpu = gpu_of(readings, rank);
  if (gpu == nullptr) return node;
  return fmt::format("rank {} on {}, GPU {}{}", rank.value(), node, gpu->index,
                     gpu->nic.empty() ? "" : ", NIC " + gpu->nic);
}

std::vector<RankId> ranks_of(const runtime::HealthReadings& readings, std::int32_t node) {
  std::vector<RankId> ranks;
  for (std::size_t r = 0; r < readings.node_of_rank.size(); ++r)
    if (readings.node_of_rank[r] == node) ranks.emplace_back(r);
  return ranks;
}

}  // namespace foretoken::cli
