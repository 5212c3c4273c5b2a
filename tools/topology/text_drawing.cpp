#include "tools/topology/text_drawing.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "tools/topology/canvas.hpp"
#include "tools/topology/node_parts.hpp"
#include "tools/topology/wording.hpp"

namespace foretoken::topology {
namespace {

constexpr std::size_t kColumn = 7;  // of a GPU or NIC
constexpr std::size_t kGap = 2;     // between what hangs under different switches

// ---- the fabric ----------------------------------------------------------------------------------------------------

std::string row(const std::string& what, const std::string& more) { return fmt::format("  {:<34} {}\n", what, more); }
std::string cables_row(const std::string& text) { return fmt::format("    │  {}\n", text); }

// Groups of as many nodes and leaves as the first are told with it.
std::string groups_text(const Picture& picture, const plan::Machine& machine) {
  constexpr std::size_t kGroupsMax = 4;
  std::string text;
  std::size_t shown = 0;
  for (const NodeGroup& group : picture.groups) {
    if (shown == kGroupsMax) {
      text += row(fmt::format("x {} more groups of nodes", picture.groups.size() - shown), "");
      break;
    }
    ++shown;
    const std::string first = fmt::format("node{}", group.nodes.front());
    std::string nodes = first;
    if (group.nodes.size() > 1)
      nodes += (group.nodes.size() == 2 ? ", " : " ... ") + fmt::format("node{}", group.nodes.back());
    text += row(nodes, fmt::format("{}, {} each, on {}", counted(static_cast<std::int64_t>(group.nodes.size()), "node"),
                                   counted(picture.nics_per_node, "NIC"),
                                   group.leaves.empty() ? "nothing" : range_text(group.leaves, machine)));
  }
  return text;
}

std::string fabric_text(const Picture& picture, const plan::Machine& machine) {
  if (picture.tiers.empty()) return "  one computer, no network\n";
  std::string text;
  for (std::size_t tier = picture.tiers.size(); tier-- > 0;) {
    const Tier& here = picture.tiers[tier];
    text += row(range_text(here.switches, machine), tier_text(picture, tier));
    std::string cables = cables_text(picture, tier);
    if (tier == 1 && picture.oversubscription)
      cables += fmt::format("; oversubscription {}", oversubscription_text(*picture.oversubscription));
    text += cables_row(cables);
  }
  return text + groups_text(picture, machine);
}

// ---- one node ------------------------------------------------------------------------------------------------------

// Columns of the parts' middles: a unit is as wide as the more numerous of its GPUs and NICs.
class NodeDrawing {
 public:
  NodeDrawing(const Picture& picture, const NodeParts& parts) : picture_(picture), parts_(parts) {
    width_ = static_cast<std::size_t>(std::max(parts.gpus_shown, parts.nics_shown)) * kColumn;
  }

  std::string draw() {
    const std::size_t end = left(parts_.units_shown) - kGap - 1;
    draw_nvswitch(end);
    for (std::int64_t unit = 0; unit < parts_.units_shown; ++unit) draw_unit(unit);
    if (parts_.gpus_hidden > 0)
      canvas_.text(kGpuRow, end + 3, fmt::format("x {} more GPUs like these", parts_.gpus_hidden));
    return canvas_.rows(4);
  }

 private:
  static constexpr std::size_t kSwitchRow = 1;
  static constexpr std::size_t kGpuRow = 3;
  static constexpr std::size_t kPcieRow = 6;

  [[nodiscard]] std::size_t left(std::int64_t unit) const { return static_cast<std::size_t>(unit) * (width_ + kGap); }
  // Middle of part `index` of `parts` that share a unit's width evenly.
  [[nodiscard]] std::size_t middle(std::int64_t unit, std::int64_t index, std::int64_t parts) const {
    return left(unit) + (2 * static_cast<std::size_t>(index) + 1) * width_ / (2 * static_cast<std::size_t>(parts));
  }
  void centred(std::size_t at_row, std::size_t column, const std::string& text) {
    canvas_.text(at_row, column - std::min(column, text.size() / 2), text);
  }

  void draw_nvswitch(std::size_t end) {
    canvas_.horizontal(kSwitchRow, 0, end);
    canvas_.text(kSwitchRow - 1, 1, picture_.nvls ? "NVSwitch, NVLS" : "NVSwitch");
  }

  void draw_unit(std::int64_t unit) {
    const std::int64_t gpus = parts_.gpus_shown;
    const std::int64_t nics = parts_.nics_shown;
    const std::size_t trunk = middle(unit, 0, 1);
    for (std::int64_t g = 0; g < gpus; ++g) {
      const std::size_t column = middle(unit, g, gpus);
      canvas_.vertical(column, kSwitchRow, kGpuRow + 2);
      canvas_.horizontal(kGpuRow + 2, std::min(column, trunk), std::max(column, trunk));
      centred(kGpuRow, column, fmt::format("gpu{}", unit * parts_.gpus_per_unit + g));
    }
    canvas_.vertical(trunk, kGpuRow + 2, kPcieRow);
    std::size_t nic_row = kPcieRow;
    if (parts_.pcie_switches) {
      nic_row = kPcieRow + 2;
      canvas_.vertical(trunk, kPcieRow, kPcieRow + 1);
      for (std::int64_t n = 0; n < nics; ++n) {
        const std::size_t column = middle(unit, n, nics);
        canvas_.horizontal(kPcieRow + 1, std::min(column, trunk), std::max(column, trunk));
        canvas_.vertical(column, kPcieRow + 1, nic_row);
      }
      centred(kPcieRow, trunk, fmt::format("pcie{}", unit));
    }
    for (std::int64_t n = 0; n < nics; ++n)
      centred(nic_row, middle(unit, n, nics), fmt::format("nic{}", unit * parts_.nics_per_unit + n));
  }

  const Picture& picture_;
  const NodeParts& parts_;
  std::size_t width_ = 0;
  Canvas canvas_;
};

std::string node_text(const Picture& picture) {
  if (picture.host)
    return fmt::format("    {} of {}, {}\n    {}{}\n", counted(picture.cores, "core"), picture.device,
                       counted(picture.ranks_per_node, "rank"), memory_text(picture.memory),
                       picture.nics_per_node > 0 ? ", 1 NIC" : "");
  return NodeDrawing(picture, parts_of(picture)).draw();
}

// ---- the kinds of link ---------------------------------------------------------------------------------------------

std::string links_text(const Picture& picture) {
  std::string text = fmt::format("  {:<22} {:>15} {:>12} {:>10}\n", "cable", "rate each way", "latency", "how many");
  for (const LinkKind& kind : picture.links)
    text += fmt::format("  {:<22} {:>15} {:>12} {:>10}\n", kind.from + " - " + kind.to,
                        rate_text(kind.link_class, kind.bandwidth) + (kind.bandwidth_assumed ? "*" : ""),
                        latency_text(kind.latency) + (kind.latency_assumed ? "*" : ""), kind.count);
  const bool any = std::any_of(picture.links.begin(), picture.links.end(),
                               [](const auto& kind) { return kind.bandwidth_assumed || kind.latency_assumed; });
  return any ? text + "  * assumed\n" : text;
}

}  // namespace

std::string text_drawing(const Picture& picture, const plan::Machine& machine) {
  std::string text = fabric_text(picture, machine);
  const std::string device = picture.host ? "" : fmt::format(", {} {}", picture.ranks_per_node, picture.device);
  text += fmt::format("\n  {}{}\n", picture.nodes == 1 ? "the node" : "each node", device) + node_text(picture);
  if (!picture.links.empty()) text += "\n" + links_text(picture);
  return text;
}

}  // namespace foretoken::topology
