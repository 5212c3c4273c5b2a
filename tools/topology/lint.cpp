#include "tools/topology/lint.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/topology/fabric_lint.hpp"
#include "tools/topology/fault_lint.hpp"
#include "tools/topology/wording.hpp"

namespace foretoken::topology {
namespace {

bool near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance * b; }

// ---- rates ---------------------------------------------------------------------------------------------------------

// Gb/s of ports that are sold. Source: Ethernet's rates (IEEE 802.3) and InfiniBand's (SDR to XDR, four lanes).
constexpr std::array<double, 13> kPortRates{1, 2.5, 10, 20, 25, 40, 50, 56, 100, 200, 400, 800, 1600};
// Within so much of a port's rate it is meant: a file may have less its headers already.
constexpr double kPortTolerance = 0.05;

bool is_port_rate(double gbits, double tolerance) {
  return std::any_of(kPortRates.begin(), kPortRates.end(), [&](double rate) { return near(gbits, rate, tolerance); });
}

// Bits for bytes is a factor of eight, and leaves a number that looks familiar.
void check_port(const std::string& pointer, BytesPerSecond bandwidth, std::vector<Finding>& findings) {
  const double gbits = bandwidth.value() * 8 / 1e9;
  const std::string rate = fmt::format("{:.4g} Gb/s", gbits);
  if (is_port_rate(gbits, kPortTolerance)) return;
  if (is_port_rate(gbits / 8, 0.01))
    findings.push_back({"", pointer, fmt::format("{} is {:.4g} GB/s", rate, gbits / 8),
                        fmt::format("ports are rated in bits: {:.4g} Gb/s may have been meant", gbits / 8)});
  else
    findings.push_back(
        {"", pointer, rate + " is no port's nominal rate", "what payload reaches of it belongs into the calibration"});
}

// GB/s of a GPU's NVLinks in one direction, by what its name has in it; the first that matches. Source: NVIDIA's
// datasheets, which give both directions together: A100 600, H800 400, H100, H200 and H20 900, B200 and its kin 1,800.
constexpr std::array<std::pair<std::string_view, double>, 9> kNvlinkRates{{{"a100", 300},
                                                                           {"h100", 450},
                                                                           {"h200", 450},
                                                                           {"h800", 200},
                                                                           {"h20", 450},
                                                                           {"gb200", 900},
                                                                           {"gb300", 900},
                                                                           {"b200", 900},
                                                                           {"b300", 900}}};

void check_nvlink(const plan::Topology& topology, std::vector<Finding>& findings) {
  const double rate = topology.nvlink_bandwidth.value() / 1e9;
  for (const auto& [name, nominal] : kNvlinkRates) {
    if (topology.device.name.find(name) == std::string::npos) continue;
    if (near(rate, 2 * nominal, 0.01))
      findings.push_back({"", "/node/nvlink/bandwidth",
                          fmt::format("{:g} GB/s is what datasheets give for both directions", rate),
                          fmt::format("bandwidths are per direction: {:g} GB/s", nominal)});
    else if (rate > 1.01 * nominal)
      findings.push_back({"", "/node/nvlink/bandwidth",
                          fmt::format("{:g} GB/s is more than the {:g} GB/s of a {}", rate, nominal, name),
                          "NVLink's rate goes with the GPU"});
    return;
  }
}

// ---- the node ------------------------------------------------------------------------------------------------------

void check_latency(const std::string& pointer, Seconds latency, Seconds longest, std::vector<Finding>& findings) {
  if (latency.value() == 0)
    findings.push_back(
        {"", pointer, "the latency is 0", "no cable is without: small messages will be predicted too short"});
  else if (latency > longest)
    findings.push_back({"", pointer, fmt::format("{} is long for one hop", latency_text(latency)),
                        "what software adds belongs into the calibration; or another unit was meant"});
}

void check_gpu_node(const plan::Topology& topology, std::vector<Finding>& findings) {
  constexpr Seconds inside_longest{5e-6};
  check_nvlink(topology, findings);
  check_latency("/node/nvlink/latency", topology.nvlink_latency, inside_longest, findings);
  check_latency("/node/pcie/latency", topology.pcie_latency, inside_longest, findings);
  const std::int64_t nics = nics_of_a_node(topology);
  if (nics < topology.gpus_per_node && topology.pcie_switches == 0)
    findings.push_back({"", "/node/nics",
                        fmt::format("{} NICs for {} GPUs, and no PCIe switches", nics, topology.gpus_per_node),
                        fmt::format("GPUs 0 to {} then have nic0, and so on: \"pcie\": {{\"switches\": …}} says which "
                                    "share one, and that they share its way to the NIC",
                                    topology.gpus_per_node / nics - 1)});
  if (topology.nic_bandwidth > topology.pcie_bandwidth)
    findings.push_back(
        {"", "/node/nic/bandwidth",
         fmt::format("{} is more than its PCIe slot's {}", rate_text(LinkClass::infiniband, topology.nic_bandwidth),
                     rate_text(LinkClass::pcie, topology.pcie_bandwidth)),
         "the NIC never reaches its rate"});
}

void check_node(const plan::Topology& topology, std::vector<Finding>& findings) {
  constexpr Seconds network_longest{20e-6};
  if (topology.emulated)
    findings.push_back({"", "/node/host/emulated", "the nodes are emulated on one computer",
                        "they share its cores and memory: no figure of it is that of a cluster"});
  if (topology.cores_per_node == 0) check_gpu_node(topology, findings);
  const bool has_nic = topology.cores_per_node == 0 || topology.nics_per_node > 0;
  // A lab's rates are chosen, and its virtual links have no length.
  if (!has_nic || topology.emulated) return;
  check_port("/node/nic/bandwidth", topology.nic_bandwidth, findings);
  check_latency("/node/nic/latency", topology.nic_latency, network_longest, findings);
  if (topology.fabric.uplink_bandwidth.value() > 0)
    check_port("/fabric/uplink/bandwidth", topology.fabric.uplink_bandwidth, findings);
  if (topology.fabric.nodes_per_leaf > 0 && topology.fabric.spines > 0)
    check_latency("/fabric/uplink/latency", topology.fabric.uplink_latency, network_longest, findings);
}

// ---- what the file names -------------------------------------------------------------------------------------------

void check_datasheet(const plan::Topology& topology, const DeviceSpec& datasheet, std::vector<Finding>& findings) {
  const DeviceSpec& device = topology.device;
  const auto differ = [&](std::string_view number, double here, double there, std::string_view unit) {
    if (near(here, there, 1e-3)) return;
    findings.push_back({"", "/device",
                        fmt::format("{} has {} of {:.5g} {}, the shipped datasheet of that name {:.5g}", device.name,
                                    number, here, unit, there),
                        "a GPU that differs needs a name of its own, so that no calibration is taken for it"});
  };
  differ("memory", static_cast<double>(device.memory.value()) / 1e9,
         static_cast<double>(datasheet.memory.value()) / 1e9, "GB");
  differ("memory_bandwidth", device.memory_bandwidth.value() / 1e12, datasheet.memory_bandwidth.value() / 1e12, "TB/s");
  differ("sms", device.sms, datasheet.sms, "SMs");
}

void check_calibration(const plan::Topology& topology, const Calibration& calibration, std::vector<Finding>& findings) {
  const bool any = topology.device.name == kAnyCpu || calibration.device.name == kAnyCpu;
  if (calibration.device.name != topology.device.name && !any) {
    findings.push_back({"", "/calibration",
                        fmt::format("{} is of {}, and the device is {}", calibration.name, calibration.device.name,
                                    topology.device.name),
                        "nothing can be simulated with it: derive or name another"});
    return;
  }
  if (calibration.host || topology.cores_per_node > 0) return;
  const double here = topology.device.memory_bandwidth.value() / 1e12;
  const double there = calibration.device.memory_bandwidth.value() / 1e12;
  if (!near(there, here, 1e-3))
    findings.push_back({"", "/calibration",
                        fmt::format("{} was made for {:.4g} TB/s of memory bandwidth, and the device has {:.4g}",
                                    calibration.name, there, here),
                        "its slowdowns are relative to that; `foretoken calibrate derive` makes one for another GPU"});
}

}  // namespace

std::vector<Finding> lint(const plan::Topology& topology, const plan::Machine& machine, const LintBeside& beside) {
  std::vector<Finding> findings;
  check_node(topology, findings);
  check_fabric(topology, machine, findings);
  if (beside.datasheet) check_datasheet(topology, *beside.datasheet, findings);
  if (beside.calibration) check_calibration(topology, *beside.calibration, findings);
  if (beside.scenario) check_faults(*beside.scenario, machine, findings);
  return findings;
}

}  // namespace foretoken::topology
