// The machine as the simulator and the planner see it: GPUs on nodes, directed links, and a route between any two GPUs;
// or one computer whose cores are the ranks.
//
// Built from a topology file (plan/machine/topology.hpp) on Boost.Graph, then frozen into flat arrays. It knows nominal
// bandwidths and latencies only; what payload achieves is the calibration's business.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/device_spec.hpp"
#include "core/ids.hpp"
#include "core/link_class.hpp"
#include "core/units.hpp"

namespace foretoken::plan {

enum class VertexKind : std::uint8_t { gpu, nic, nvswitch, pcie_switch, fabric_switch };

/// One direction of a cable or of a port.
struct Link {
  VertexId from;
  VertexId to;
  LinkClass link_class = LinkClass::nvlink;
  BytesPerSecond bandwidth;  // nominal, this direction
  Seconds latency;           // propagation and switching of this hop
};

class Machine {
 public:
  struct Impl;
  explicit Machine(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const DeviceSpec& device() const;
  [[nodiscard]] std::int64_t gpus() const;
  [[nodiscard]] std::int64_t nodes() const;
  /// Node of GPU `gpu` (GPUs are numbered node by node), 0 <= gpu < gpus().
  [[nodiscard]] std::int32_t node_of(RankId gpu) const;
  /// True if ranks are threads or processes on a computer's cores (`gpus()` is how many there may be). One computer has
  /// no links; between several there are NICs and a fabric.
  [[nodiscard]] bool is_host() const { return cores_per_node() > 0; }
  /// 0 unless this is a host.
  [[nodiscard]] std::int64_t cores_per_node() const;
  /// Cores whose time the ranks of a node get at most, where a lab limits them (tools/netlab); else cores_per_node().
  [[nodiscard]] double core_share(std::int64_t node) const;
  /// Whether core_share() is less than all for some node.
  [[nodiscard]] bool has_core_shares() const;
  /// Computers that the nodes are: one where it emulates them all.
  [[nodiscard]] std::int64_t computers() const;
  /// True if the node's NVSwitch can reduce and multicast (NVLink SHARP).
  [[nodiscard]] bool nvls() const;
  [[nodiscard]] std::span<const Link> links() const;
  [[nodiscard]] std::size_t vertices() const;
  [[nodiscard]] VertexKind kind_of(VertexId vertex) const;
  /// Name of a vertex, for reports: "node3.gpu5", "node0.nic2", "fabric".
  [[nodiscard]] std::string vertex_name(VertexId vertex) const;
  /// The vertex of that name; invalid if there is none.
  [[nodiscard]] VertexId find_vertex(const std::string& name) const;
  /// NICs of each node.
  [[nodiscard]] std::int64_t nics_per_node() const;

  /// Links from GPU to GPU in order of travel; empty if from == to, or if there is no way. Which of several ways is
  /// taken is the topology's choice (plan/machine/router.hpp) and depends on nothing but the machine and the two GPUs.
  /// May be called from several threads; what it returns stays valid as long as any copy of this Machine.
  [[nodiscard]] std::span<const LinkId> route(RankId from, RankId to) const;

  /// This machine with some links dead, in both directions. Vertices and links keep their numbers, and routes stay what
  /// they are unless they use a dead link.
  [[nodiscard]] Machine without(std::span<const LinkId> links) const;
  [[nodiscard]] bool is_dead(LinkId link) const;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace foretoken::plan
