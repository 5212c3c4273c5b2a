// The frozen arrays behind Machine. Private to plan/machine: build_machine.cpp fills them, machine.cpp reads them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "plan/machine/machine.hpp"

namespace foretoken::plan {

/// Vertices are numbered: GPUs, then NICs (one per GPU), then NVSwitches (one per node), then the fabric.
///
/// Links come in pairs: link 2 i goes one way, link 2 i + 1 the other way between the same two vertices.
///
/// Every path between two GPUs runs over a hub, the NVSwitch of their node or the fabric, because removing the hub
/// parts them. So a shortest path is the up-path of one to a hub and the down-path of the other from it, and one
/// shortest-path tree per hub is all that has to be stored: two links per vertex instead of one route per pair.
struct Machine::Impl {
  static constexpr std::size_t kRouteLinksMax = 4;  // GPU, NIC, fabric, NIC, GPU

  struct Route {
    std::array<LinkId, kRouteLinksMax> links;
    std::size_t size = 0;
  };

  std::string name;
  DeviceSpec device;
  std::int64_t gpus = 0;
  std::int64_t nodes = 0;
  std::int64_t gpus_per_node = 0;
  std::int64_t cores_per_node = 0;  // of a host: no links then
  bool nvls = false;
  std::vector<Link> links;
  /// By vertex: the last link of the shortest path from the node's NVSwitch, or from the fabric; invalid at the hub.
  std::vector<LinkId> from_switch;
  std::vector<LinkId> from_fabric;

  /// Routes that were asked for. Nodes of the map stay where they are, so spans into them stay valid.
  mutable std::mutex mutex;
  mutable std::unordered_map<std::uint64_t, Route> routes;

  [[nodiscard]] VertexId gpu_vertex(std::int64_t gpu) const { return VertexId(static_cast<std::size_t>(gpu)); }
  [[nodiscard]] VertexId nic_vertex(std::int64_t gpu) const { return VertexId(static_cast<std::size_t>(gpus + gpu)); }
  [[nodiscard]] VertexId switch_vertex(std::int64_t node) const {
    return VertexId(static_cast<std::size_t>(2 * gpus + node));
  }
  [[nodiscard]] VertexId fabric_vertex() const { return VertexId(static_cast<std::size_t>(2 * gpus + nodes)); }
  [[nodiscard]] std::size_t vertices() const { return static_cast<std::size_t>(2 * gpus + nodes + 1); }
  [[nodiscard]] static LinkId opposite(LinkId link) { return LinkId(link.value() ^ 1); }

  [[nodiscard]] Route find_route(std::int64_t from, std::int64_t to) const;
  [[nodiscard]] Route over_hub(const std::vector<LinkId>& parents, std::int64_t from, std::int64_t to) const;
};

}  // namespace foretoken::plan
