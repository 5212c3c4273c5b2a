#include "tools/topology/svg_drawing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/topology/node_parts.hpp"
#include "tools/topology/svg.hpp"
#include "tools/topology/wording.hpp"

namespace foretoken::topology {
namespace {

constexpr double kMargin = 24;
constexpr double kLeftMargin = 250;  // of what is drawn; before it stands what the rows are
constexpr double kTop = 64;
constexpr double kRowHeight = 34;
constexpr double kRowStep = 124;  // from tier to tier

double stroke_of(const Bundle& bundle) { return 0.8 + 0.35 * std::log2(static_cast<double>(bundle.cables)); }

// ---- the fabric ----------------------------------------------------------------------------------------------------

class FabricPanel {
 public:
  FabricPanel(const Picture& picture, const plan::Machine& machine, Svg& svg)
      : picture_(picture), machine_(machine), svg_(svg) {}

  /// Draws from `top` on; afterwards right() and bottom() are where it ends.
  void draw(double top) {
    leaf_y_ = top + static_cast<double>(picture_.tiers.size() - 1) * kRowStep;
    node_y_ = leaf_y_ + kRowStep;
    bottom_ = node_y_ + kNodeHeight;
    place_groups();
    place_upper_tiers(top);
    draw_cables();
    label_rows(top);
  }
  [[nodiscard]] double right() const { return right_; }
  [[nodiscard]] double bottom() const { return bottom_; }

 private:
  static constexpr double kNodeWidth = 112;
  static constexpr double kNodeHeight = 46;
  static constexpr double kNodeGap = 14;
  static constexpr double kLeafWidth = 84;
  static constexpr double kLeafGap = 8;
  static constexpr double kGroupGap = 44;
  static constexpr double kMoreWidth = 156;
  static constexpr std::size_t kLeavesMax = 16;
  static constexpr std::size_t kNodesMax = 8;  // all nodes are drawn up to so many, else two of each group
  static constexpr std::size_t kGroupsMax = 4;
  static constexpr std::size_t kUpperMax = 8;
  static constexpr std::int64_t kNicLinesMax = 16;

  void place_groups() {
    double x = kLeftMargin;
    std::size_t shown = 0;
    for (const NodeGroup& group : picture_.groups) {
      const bool full = shown == kGroupsMax || placed_.size() + new_leaves(group).size() > kLeavesMax;
      if (shown > 0 && full) break;
      x = place_group(group, x) + kGroupGap;
      ++shown;
    }
    right_ = x - kGroupGap;
    if (shown < picture_.groups.size()) {
      const std::size_t hidden = picture_.groups.size() - shown;
      const Box more{x, leaf_y_, kMoreWidth + 30, bottom_ - leaf_y_};
      svg_.box(more, "more", fmt::format("× {} more like {}", hidden, shown == 1 ? "this" : "these"));
      right_ = more.right();
    }
    // One switch by itself is as wide as what hangs on it.
    if (placed_.size() == 1) placed_.begin()->second = Box{kLeftMargin, leaf_y_, right_ - kLeftMargin, kRowHeight};
    for (const auto& [leaf, box] : placed_) svg_.box(box, "switch", machine_.vertex_name(leaf));
  }

  [[nodiscard]] std::vector<VertexId> new_leaves(const NodeGroup& group) const {
    std::vector<VertexId> leaves;
    for (const VertexId leaf : group.leaves)
      if (!placed_.contains(leaf) && leaves.size() < kLeavesMax) leaves.push_back(leaf);
    return leaves;
  }

  double place_group(const NodeGroup& group, double x) {
    const std::vector<VertexId> leaves = new_leaves(group);
    const bool all = static_cast<std::size_t>(picture_.nodes) <= kNodesMax || group.nodes.size() <= 3;
    const std::size_t nodes = all ? group.nodes.size() : 2;
    const double nodes_width =
        static_cast<double>(nodes) * (kNodeWidth + kNodeGap) - kNodeGap + (all ? 0 : kNodeGap + kMoreWidth);
    const double leaves_width = static_cast<double>(leaves.size()) * (kLeafWidth + kLeafGap) - kLeafGap;
    const double width = std::max(nodes_width, leaves_width);
    double leaf_x = x + (width - leaves_width) / 2;
    for (const VertexId leaf : leaves) {
      placed_[leaf] = {leaf_x, leaf_y_, kLeafWidth, kRowHeight};
      leaf_x += kLeafWidth + kLeafGap;
    }
    double node_x = x + (width - nodes_width) / 2;
    for (std::size_t i = 0; i < nodes; ++i) {
      const Box box{node_x, node_y_, kNodeWidth, kNodeHeight};
      nodes_[group.nodes[i]] = box;
      svg_.box(box, "node", fmt::format("node{}", group.nodes[i]));
      node_x += kNodeWidth + kNodeGap;
    }
    if (!all)
      svg_.box({node_x, node_y_, kMoreWidth, kNodeHeight}, "more",
               fmt::format("× {} more like {}", group.nodes.size() - nodes, nodes == 1 ? "this" : "these"));
    return x + width;
  }

  void place_upper_tiers(double top) {
    constexpr double width = 96;
    constexpr double gap = 16;
    for (std::size_t tier = 1; tier < picture_.tiers.size(); ++tier) {
      const auto& switches = picture_.tiers[tier].switches;
      const bool all = switches.size() <= kUpperMax;
      const std::size_t shown = all ? switches.size() : kUpperMax - 2;
      const double row_width = static_cast<double>(shown) * (width + gap) - gap + (all ? 0 : gap + kMoreWidth);
      const double y = top + static_cast<double>(picture_.tiers.size() - 1 - tier) * kRowStep;
      double x = std::max(kLeftMargin, kLeftMargin + (right_ - kLeftMargin - row_width) / 2);
      right_ = std::max(right_, x + row_width);
      for (std::size_t i = 0; i < shown; ++i) {
        placed_[switches[i]] = {x, y, width, kRowHeight};
        svg_.box(placed_[switches[i]], "switch", machine_.vertex_name(switches[i]));
        x += width + gap;
      }
      if (!all)
        svg_.box({x, y, kMoreWidth, kRowHeight}, "more", fmt::format("× {} more like these", switches.size() - shown));
    }
  }

  void draw_cables() {
    for (const Tier& tier : picture_.tiers)
      for (const Bundle& bundle : tier.down) {
        const auto upper = placed_.find(bundle.upper);
        if (upper == placed_.end()) continue;
        if (machine_.kind_of(bundle.lower) == plan::VertexKind::nic) draw_nic_cable(bundle, upper->second);
        else if (const auto lower = placed_.find(bundle.lower); lower != placed_.end())
          svg_.line(lower->second.top(), upper->second.bottom(), "network", stroke_of(bundle));
      }
  }

  void draw_nic_cable(const Bundle& bundle, const Box& leaf) {
    const std::int64_t nics = picture_.nics_per_node;
    const std::int64_t nic = bundle.lower.value() - machine_.gpus();
    const auto node = nodes_.find(nic / nics);
    if (node == nodes_.end()) return;
    const double share = (static_cast<double>(nic % nics) + 0.5) / static_cast<double>(nics);
    const double x = node->second.x + share * node->second.width;
    // Of a rack's many NICs only as many lines as can be told apart.
    if (nics > kNicLinesMax && nic % nics % (nics / kNicLinesMax) != 0) return;
    const Point up = leaf.width > kLeafWidth + 1 ? Point{x, leaf.y + leaf.height} : leaf.bottom();
    svg_.line({x, node->second.y}, up, "network", stroke_of(bundle));
  }

  void label_rows(double top) {
    for (std::size_t tier = 0; tier < picture_.tiers.size(); ++tier) {
      const Tier& here = picture_.tiers[tier];
      const double y = top + static_cast<double>(picture_.tiers.size() - 1 - tier) * kRowStep;
      svg_.text({kMargin, y + 22}, "", tier_text(picture_, tier));
      svg_.text({kMargin, y + 66}, "note", bundle_text(here.down) + (tier == 0 ? " each NIC" : " each pair"));
      svg_.text({kMargin, y + 84}, "note", latency_below(tier));
      if (tier == 1 && picture_.oversubscription)
        svg_.text({kMargin, y + 102}, "note", "oversubscription " + oversubscription_text(*picture_.oversubscription));
    }
    svg_.text({kMargin, node_y_ + 20}, "", counted(picture_.nodes, "node"));
    svg_.text({kMargin, node_y_ + 38}, "note", counted(picture_.nics_per_node, "NIC") + " each");
  }

  [[nodiscard]] std::string latency_below(std::size_t tier) const {
    for (const LinkKind& kind : picture_.links)
      if (kind.link_class == LinkClass::infiniband && kind.to == picture_.tiers[tier].kind)
        return "latency " + latency_text(kind.latency) + (kind.latency_assumed ? ", assumed" : "");
    return {};
  }

  const Picture& picture_;
  const plan::Machine& machine_;
  Svg& svg_;
  std::map<VertexId, Box> placed_;  // switches
  std::map<std::int64_t, Box> nodes_;
  double leaf_y_ = 0;
  double node_y_ = 0;
  double right_ = kLeftMargin;
  double bottom_ = 0;
};

// ---- one node ------------------------------------------------------------------------------------------------------

class NodePanel {
 public:
  NodePanel(const Picture& picture, Svg& svg) : picture_(picture), svg_(svg), parts_(parts_of(picture)) {}

  void draw(double top) {
    const auto columns = static_cast<double>(std::max(parts_.gpus_shown, parts_.nics_shown));
    unit_width_ = columns * kPart;
    right_ = kLeftMargin + static_cast<double>(parts_.units_shown) * (unit_width_ + kUnitGap) - kUnitGap;
    switch_y_ = top;
    gpu_y_ = top + kStep;
    svg_.box({kLeftMargin, switch_y_, right_ - kLeftMargin, kRowHeight}, picture_.host ? "node" : "switch",
             top_label());
    draw_more();
    double y = gpu_y_;
    if (parts_.pcie_switches) pcie_y_ = y += kStep;
    if (picture_.nics_per_node > 0) nic_y_ = y += kStep;
    bottom_ = y + kRowHeight;
    for (std::int64_t unit = 0; unit < parts_.units_shown; ++unit) draw_unit(unit);
    label_rows();
  }
  [[nodiscard]] double right() const { return right_; }
  [[nodiscard]] double bottom() const { return bottom_; }

 private:
  static constexpr double kPart = 66;  // of a GPU or NIC, with its gap
  static constexpr double kPartGap = 8;
  static constexpr double kUnitGap = 14;
  static constexpr double kStep = 84;

  [[nodiscard]] std::string top_label() const {
    if (picture_.host)
      return fmt::format("{} of {}, {}", counted(picture_.cores, "core"), picture_.device,
                         memory_text(picture_.memory));
    return picture_.nvls ? "NVSwitch, NVLS" : "NVSwitch";
  }

  void draw_more() {
    if (parts_.gpus_hidden == 0) return;
    const Box more{right_ + kUnitGap, gpu_y_, 156, kRowHeight};
    svg_.box(more, "more", fmt::format("× {} more like these", parts_.gpus_hidden));
    right_ = more.right();
  }

  [[nodiscard]] Box part(std::int64_t unit, std::int64_t index, std::int64_t count, double y) const {
    const double x = kLeftMargin + static_cast<double>(unit) * (unit_width_ + kUnitGap);
    const double slot = unit_width_ / static_cast<double>(count);
    const double width = kPart - kPartGap;
    return {x + (static_cast<double>(index) + 0.5) * slot - width / 2, y, width, kRowHeight};
  }

  void draw_unit(std::int64_t unit) {
    const std::int64_t gpus = parts_.gpus_shown;
    const std::int64_t nics = parts_.nics_shown;
    const Box pcie = part(unit, 0, 1, pcie_y_);
    if (parts_.pcie_switches) svg_.box(pcie, "pcie", fmt::format("pcie{}", unit));
    for (std::int64_t g = 0; g < gpus; ++g) {
      const Box gpu = part(unit, g, gpus, gpu_y_);
      svg_.box(gpu, "gpu", fmt::format("{}{}", picture_.host ? "rank" : "gpu", unit * parts_.gpus_per_unit + g));
      svg_.line({gpu.top().x, switch_y_ + kRowHeight}, gpu.top(), picture_.host ? "rule" : "nvlink", 1.6);
      if (nics == 0) continue;
      const Box below = parts_.pcie_switches ? pcie : part(unit, 0, 1, nic_y_);
      svg_.line(gpu.bottom(), below.top(), picture_.host ? "rule" : "pcielink");
    }
    for (std::int64_t n = 0; n < nics; ++n) {
      const Box nic = part(unit, n, nics, nic_y_);
      svg_.box(nic, "nic", fmt::format("nic{}", unit * parts_.nics_per_unit + n));
      if (parts_.pcie_switches) svg_.line(pcie.bottom(), nic.top(), "pcielink");
    }
  }

  void label_rows() {
    const auto label = [&](double y, const std::string& what) { svg_.text({kMargin, y + 22}, "", what); };
    label(gpu_y_, picture_.host ? counted(picture_.ranks_per_node, "rank")
                                : fmt::format("{} × {}", picture_.ranks_per_node, picture_.device));
    if (parts_.pcie_switches) label(pcie_y_, counted(picture_.pcie_switches, "PCIe switch"));
    if (picture_.nics_per_node > 0) label(nic_y_, counted(picture_.nics_per_node, "NIC"));
    for (const LinkKind& kind : picture_.links) {
      if (kind.link_class == LinkClass::infiniband) continue;
      const double y = kind.link_class == LinkClass::nvlink ? switch_y_ : kind.from == "GPU" ? gpu_y_ : pcie_y_;
      svg_.text({kMargin, y + 56}, "note",
                fmt::format("{} {}", kind.link_class == LinkClass::nvlink ? "NVLink" : "PCIe",
                            rate_text(kind.link_class, kind.bandwidth)));
      svg_.text({kMargin, y + 72}, "note", latency_text(kind.latency) + (kind.latency_assumed ? ", assumed" : ""));
    }
  }

  const Picture& picture_;
  Svg& svg_;
  NodeParts parts_;
  double unit_width_ = 0;
  double switch_y_ = 0;
  double gpu_y_ = 0;
  double pcie_y_ = 0;
  double nic_y_ = 0;
  double right_ = 0;
  double bottom_ = 0;
};

// ---- the kinds of cable --------------------------------------------------------------------------------------------

double draw_links(const Picture& picture, double top, Svg& svg) {
  constexpr double line = 21;
  constexpr double rate = 390;
  constexpr double latency = 500;
  constexpr double count = 600;
  double y = top;
  svg.text({kMargin, y}, "note", "cable");
  svg.text({rate, y}, "note right", "rate each way");
  svg.text({latency, y}, "note right", "latency");
  svg.text({count, y}, "note right", "how many");
  svg.line({kMargin, y + 7}, {count, y + 7}, "rule");
  bool assumed = false;
  for (const LinkKind& kind : picture.links) {
    y += line;
    svg.text({kMargin, y + 4}, "", fmt::format("{} to {}", kind.from, kind.to));
    svg.text({rate, y + 4}, "right", rate_text(kind.link_class, kind.bandwidth) + (kind.bandwidth_assumed ? " *" : ""));
    svg.text({latency, y + 4}, "right", latency_text(kind.latency) + (kind.latency_assumed ? " *" : ""));
    svg.text({count, y + 4}, "right", fmt::format("{}", kind.count));
    assumed = assumed || kind.bandwidth_assumed || kind.latency_assumed;
  }
  if (assumed) svg.text({kMargin, (y += line) + 4}, "note", "* assumed: sources of the topology file say why");
  return y + 4;
}

}  // namespace

std::string svg_drawing(const Picture& picture, const plan::Machine& machine) {
  Svg svg;
  const std::string ranks = picture.host ? "ranks" : "GPUs";
  const std::string size =
      fmt::format("{}, {} {}", counted(picture.nodes, "node"), picture.nodes * picture.ranks_per_node, ranks);
  svg.text({kMargin, 34}, "title", picture.name);
  svg.text({kMargin, 52}, "note", size + (picture.emulated ? ", emulated on one computer" : ""));
  double right = kLeftMargin + 380;
  double y = kTop + 16;
  if (!picture.tiers.empty()) {
    FabricPanel fabric(picture, machine, svg);
    fabric.draw(y);
    right = std::max(right, fabric.right());
    y = fabric.bottom() + 52;
  }
  svg.text({kMargin, y}, "title", picture.nodes == 1 ? "Inside the node" : "Inside each node");
  NodePanel node(picture, svg);
  node.draw(y + 22);
  right = std::max(right, node.right());
  y = node.bottom() + 44;
  if (!picture.links.empty()) y = draw_links(picture, y, svg);
  return svg.file(right + kMargin, y + kMargin, fmt::format("{}: {}", picture.name, size));
}

}  // namespace foretoken::topology
