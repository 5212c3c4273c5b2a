// NCCL's topology file, as NCCL_TOPO_DUMP_FILE writes it: <system> of <cpu> of nested <pci>, with <gpu> and <nic> in
// them.
//
// Taken are numbers of GPUs, NICs and NVLinks, speeds of NICs, the PCIe link of a GPU, and what shares a root port.
// PCIe's rate is the nominal one of speed, width and line code, not NCCL's own lower estimate of it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <pugixml.hpp>
#include <utility>
#include <vector>

#include "calibrate/import/log_text.hpp"
#include "calibrate/import/node_shape.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr int kDepthMax = 32;
constexpr std::string_view kSwitchClass = "0x068000";  // a bridge of the kind that NVSwitches are

struct Gpu {
  std::int64_t sm = 0;
  std::int64_t nvlinks = 0;
  BytesPerSecond pcie;  // zero: not told
  std::string pcie_source;
  std::string root_port;
  std::size_t line = 0;
};

struct Nic {
  std::string name;
  std::int64_t megabits = 0;  // per second; 0: not told
  std::string root_port;
};

struct Host {
  std::vector<Gpu> gpus;
  std::vector<Nic> nics;
  std::size_t line = 0;
};

// Payload and headers' share of what a lane carries. PCIe 1 and 2: 8 bits in 10; 3 to 5: 128 in 130; 6: 236 bytes of
// packets in a flit of 256. Source: PCI Express Base Specification.
double line_code(double gigatransfers) {
  if (gigatransfers < 8) return 8.0 / 10;
  return gigatransfers < 64 ? 128.0 / 130 : 236.0 / 256;
}

class NcclTopologyReader {
 public:
  explicit NcclTopologyReader(const LogPlace& log) : log_(log) {}

  NodeShape read() {
    const pugi::xml_parse_result parsed =
        document_.load_buffer(log_.text.data(), log_.text.size(), pugi::parse_default, pugi::encoding_utf8);
    if (!parsed)
      throw log_.error(line_at(parsed.offset), fmt::format("is no XML: {}", parsed.description()),
                       "was the file cut? NCCL_TOPO_DUMP_FILE=FILE writes a whole one");
    const pugi::xml_node system = document_.child("system");
    if (!system) throw log_.error(1, "has no <system>", "give a file that NCCL_TOPO_DUMP_FILE wrote");
    if (text_of(system, "version") != "1")
      throw log_.error(line_of(system),
                       fmt::format("version {} of <system>", quoted_for_message(text_of(system, "version"))),
                       "version 1 is read");
    for (const pugi::xml_node cpu : system.children("cpu")) {
      Host& host = hosts_[std::string(text_of(cpu, "host_hash"))];
      if (host.line == 0) host.line = line_of(cpu);
      walk(cpu, host, cpu, "", 0);
    }
    return shape();
  }

 private:
  [[nodiscard]] std::size_t line_at(std::ptrdiff_t offset) const {
    const auto end = std::clamp<std::ptrdiff_t>(offset, 0, static_cast<std::ptrdiff_t>(log_.text.size()));
    return 1 + static_cast<std::size_t>(std::count(log_.text.begin(), log_.text.begin() + end, '\n'));
  }
  [[nodiscard]] std::size_t line_of(pugi::xml_node node) const { return line_at(node.offset_debug()); }

  static std::string_view text_of(pugi::xml_node node, const char* name) { return node.attribute(name).value(); }

  std::int64_t integer(pugi::xml_node node, const char* name, std::int64_t min, std::int64_t max) const {
    const std::string_view text = text_of(node, name);
    const auto value = whole_number_in(text);
    if (!value || *value < min || *value > max)
      throw log_.error(line_of(node), fmt::format("{} of <{}> is {}", name, node.name(), quoted_for_message(text)),
                       fmt::format("write a whole number from {} to {}", min, max));
    return *value;
  }

  // Elements below a <cpu>; `port` is the outermost bridge above, `above` the element that holds these.
  void walk(pugi::xml_node above, Host& host, pugi::xml_node pci, const std::string& port,
            int depth) {  // NOLINT(misc-no-recursion)
    if (depth > kDepthMax)
      throw log_.error(line_of(above), fmt::format("elements are nested deeper than {}", kDepthMax),
                       "no machine has that");
    for (const pugi::xml_node node : above.children()) {
      const std::string_view name = node.name();
      if (name == "pci") {
        const bool bridge = text_of(node, "class").starts_with("0x0604");
        walk(node, host, node, port.empty() && bridge ? std::string(text_of(node, "busid")) : port, depth + 1);
      } else if (name == "nic") {
        walk(node, host, pci, port, depth + 1);
      } else if (name == "gpu") {
        host.gpus.push_back(read_gpu(node, pci, port));
      } else if (name == "net") {
        host.nics.push_back(read_nic(node, port));
      }
    }
  }

  Gpu read_gpu(pugi::xml_node node, pugi::xml_node pci, const std::string& port) const {
    Gpu gpu;
    gpu.line = line_of(node);
    gpu.root_port = port;
    gpu.sm = integer(node, "sm", 10, 999);
    for (const pugi::xml_node nvlink : node.children("nvlink")) {
      const std::string_view to = text_of(nvlink, "tclass");
      if (to.starts_with("0x03"))
        throw log_.error(
            line_of(nvlink), "an NVLink from GPU to GPU",
            "topologies have NVLinks to NVSwitches only: write the topology by hand, with what they add up to");
      if (to == kSwitchClass) gpu.nvlinks += integer(nvlink, "count", 1, 1024);
    }
    if (pci.attribute("link_speed")) read_pcie(pci, gpu);
    return gpu;
  }

  void read_pcie(pugi::xml_node pci, Gpu& gpu) const {
    std::string_view rest = text_of(pci, "link_speed");
    const auto speed = take_number(rest);
    if (!speed || *speed < 1 || *speed > 1024 || !take(rest, "GT/s"))
      throw log_.error(line_of(pci), fmt::format("link_speed is {}", quoted_for_message(text_of(pci, "link_speed"))),
                       "write for example \"32.0 GT/s PCIe\"");
    const std::int64_t lanes = integer(pci, "link_width", 1, 64);
    const double code = line_code(*speed);
    gpu.pcie = BytesPerSecond(static_cast<double>(lanes) * *speed * code / 8 * 1e9);
    gpu.pcie_source = fmt::format("{} lanes x {:g} GT/s x {:.4g} / 8", lanes, *speed, code);
  }

  Nic read_nic(pugi::xml_node node, const std::string& port) const {
    Nic nic;
    nic.name = std::string(text_of(node, "name"));
    nic.root_port = port;
    const std::string_view speed = text_of(node, "speed");
    if (!speed.empty() && !speed.starts_with('-')) nic.megabits = integer(node, "speed", 0, 1'000'000'000);
    return nic;
  }

  // ---- what all hosts have in common
  // ---------------------------------------------------------------------------------

  NodeShape shape() {
    std::erase_if(hosts_, [](const auto& entry) { return entry.second.gpus.empty(); });
    if (hosts_.empty()) throw log_.error(1, "has no <gpu>", "dump the topology on a node with GPUs");
    NodeShape shape;
    shape.tool = "NCCL topology file";
    shape.nodes = static_cast<std::int64_t>(hosts_.size());
    const Host& first = hosts_.begin()->second;
    const Gpu& gpu = first.gpus.front();
    shape.gpus = static_cast<std::int64_t>(first.gpus.size());
    shape.sm = gpu.sm;
    shape.nvlinks = gpu.nvlinks;
    shape.pcie_bandwidth = gpu.pcie;
    shape.pcie_source = gpu.pcie_source;
    if (shape.gpus > plan::kGpusPerNodeMax)
      throw log_.error(first.line, fmt::format("{} GPUs in a node", shape.gpus),
                       fmt::format("{} at most", plan::kGpusPerNodeMax));
    if (shape.nodes > plan::kNodesMax || shape.nodes * shape.gpus > plan::kGpusMax)
      throw log_.error(1, fmt::format("{} nodes", shape.nodes), fmt::format("{} GPUs at most", plan::kGpusMax));
    if (gpu.nvlinks == 0)
      throw log_.error(gpu.line, "a GPU without NVLinks to an NVSwitch", "topologies have an NVSwitch in every node");
    for (auto& [hash, host] : hosts_) {
      keep_fastest(host, shape);
      check_alike(host, first);
    }
    know_nics(first, shape);
    return shape;
  }

  // Slower ones carry storage and management.
  static void keep_fastest(Host& host, NodeShape& shape) {
    std::int64_t fastest = 0;
    for (const Nic& nic : host.nics) fastest = std::max(fastest, nic.megabits);
    const auto slower = [&](const Nic& nic) { return nic.megabits < fastest; };
    for (const Nic& nic : host.nics)
      if (slower(nic))
        shape.notes.insert(fmt::format("NIC {} is left out: it is slower than {} Gb/s", quoted_for_message(nic.name),
                                       static_cast<double>(fastest) / 1e3));
    std::erase_if(host.nics, slower);
  }

  void check_alike(const Host& host, const Host& first) const {
    const auto differ = [&](std::size_t line, std::string_view what, const auto& here, const auto& there) {
      return log_.error(line, fmt::format("{} {} here, but {} of the first one", what, here, there),
                        "topologies have nodes and GPUs that are all the same");
    };
    if (host.gpus.size() != first.gpus.size())
      throw differ(host.line, "the host's number of GPUs is", host.gpus.size(), first.gpus.size());
    if (host.nics.size() != first.nics.size())
      throw differ(host.line, "the host's number of fastest NICs is", host.nics.size(), first.nics.size());
    const Gpu& model = first.gpus.front();
    for (const Gpu& gpu : host.gpus) {
      if (gpu.sm != model.sm) throw differ(gpu.line, "the GPU's sm is", gpu.sm, model.sm);
      if (gpu.nvlinks != model.nvlinks)
        throw differ(gpu.line, "the GPU's number of NVLinks is", gpu.nvlinks, model.nvlinks);
      if (gpu.pcie_source != model.pcie_source)
        throw differ(gpu.line, "the GPU's PCIe link is", quoted_for_message(gpu.pcie_source),
                     quoted_for_message(model.pcie_source));
    }
    for (const Nic& nic : host.nics)
      if (nic.megabits != first.nics.front().megabits)
        throw differ(host.line, "the speed of the host's NICs, in Mb/s, is", nic.megabits, first.nics.front().megabits);
  }

  void know_nics(const Host& host, NodeShape& shape) const {
    shape.nics = static_cast<std::int64_t>(host.nics.size());
    if (shape.nics == 0) {
      shape.nics = shape.gpus;
      shape.notes.insert("the file has no NICs: the topology has one for each GPU");
      return;
    }
    if (shape.gpus % shape.nics != 0)
      throw log_.error(host.line,
                       fmt::format("{} NICs for {} GPUs, at {} Gb/s; slower ones are left out", shape.nics, shape.gpus,
                                   static_cast<double>(host.nics.front().megabits) / 1e3),
                       "topologies have one for each GPU, or for 2, 4, ... of them");
    shape.nic_bandwidth = BytesPerSecond(static_cast<double>(host.nics.front().megabits) * 1e6 / 8);
    std::map<std::string, PcieGroup> by_port;
    for (std::size_t i = 0; i < host.gpus.size(); ++i) ++by_port[port_or_own(host.gpus[i].root_port, i)].gpus;
    for (const Nic& nic : host.nics) ++by_port[nic.root_port].nics;
    std::vector<PcieGroup> groups;
    for (const auto& [port, group] : by_port) groups.push_back(group);
    set_pcie_switches(shape, groups);
  }

  // A GPU under no bridge shares it with nobody.
  static std::string port_or_own(const std::string& port, std::size_t index) {
    return port.empty() ? fmt::format("GPU {}", index) : port;
  }

  const LogPlace& log_;
  pugi::xml_document document_;
  std::map<std::string, Host> hosts_;  // by host_hash
};

}  // namespace

NodeShape read_nccl_topology(const LogPlace& log) { return NcclTopologyReader(log).read(); }

}  // namespace foretoken::calibrate
