// Ways through a machine, found by Boost.Graph over its wiring, one pair of GPUs at a time. Private to plan/machine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "plan/machine/wiring.hpp"

namespace foretoken::plan {

struct RoutingGraphs;

/// A route is made of three parts: inside the node of the sender from its GPU to a NIC, over the fabric to a NIC of the
/// receiver's node, and inside that node to its GPU. Inside a node, and so between two GPUs of one node if anything
/// joins them there, messages go by the fewest hops; a GPU passes on what it can hand over better than anybody else:
/// one GPU may stand between the first and the last hop.
///
/// Every GPU has a NIC of its own (gpu / (GPUs per NIC)) and takes it as long as it works. After that come NICs by hops
/// and, among equals, by number from its own on. Where the own NIC is dead or has no cable, the GPUs of such NICs turn
/// to those that work in turn, the first of them to the first, so that none has more of them than it must. Of all pairs
/// of NICs with a way between them are taken
///
///   without pxn  the pair that is nearest to the two GPUs, then the one with the shortest way over the fabric
///   with pxn     the NIC that is nearest to the receiver, then the sender's with the shortest way to it
///
/// Over the fabric the way is one of the shortest, by a hash of sender, receiver and salt at every switch (ECMP).
///
/// Cost: one search per node with dead links and one per kind of healthy node, when constructed; one over the switches
/// for each switch that a NIC of a receiver is at, when first needed. Not safe for several threads.
class Router {
 public:
  /// @param dead by link, both directions of a cable; empty: none
  Router(std::shared_ptr<const Wiring> wiring, std::shared_ptr<const RoutingGraphs> graphs, std::vector<char> dead);

  /// Appends the links from GPU to GPU in order of travel. False, and nothing appended, if there is no way.
  bool find(std::int64_t from, std::int64_t to, std::vector<LinkId>& route);

  [[nodiscard]] bool is_dead(LinkId link) const { return !dead_.empty() && dead_[link.index()] != 0; }

 private:
  static constexpr std::uint16_t kNoWay = 0xFFFF;
  // How to get from a GPU to a GPU or NIC of its node.
  struct Way {
    std::uint16_t hops = kNoWay;
    std::int16_t via = -1;  // GPU that passes the message on
  };
  struct NodeRoutes {
    std::vector<Way> ways;                // [GPU][GPUs, then NICs]
    std::vector<std::int32_t> parents;    // [GPU][vertex of the node]: link by which it is reached, in the node's block
    std::vector<std::int16_t> nic_order;  // [GPU][]: NICs, nearest first
  };
  // A way over the fabric between two NICs.
  struct Crossing {
    std::int32_t hops = -1;  // -1: none
    LinkId up;               // from NIC to switch
    LinkId down;             // from switch to NIC
  };

  [[nodiscard]] NodeRoutes search_node(std::int64_t node) const;
  void search_from(std::int64_t node, std::int64_t gpu, NodeRoutes& routes) const;
  void add_forwarding(NodeRoutes& routes) const;
  void order_nics(NodeRoutes& routes) const;
  [[nodiscard]] const NodeRoutes& routes_of(std::int64_t node) const;
  [[nodiscard]] std::span<const std::int16_t> nics_for(std::int64_t gpu);
  [[nodiscard]] std::vector<std::int16_t> other_nics(std::int64_t gpu) const;
  [[nodiscard]] bool works(std::int64_t node, std::int64_t nic) const;
  [[nodiscard]] const Way& way(const NodeRoutes& routes, std::int64_t gpu, std::int64_t target) const;
  void append_inside(std::int64_t node, std::int64_t gpu, std::int64_t target, std::vector<LinkId>& route) const;
  void append_direct(std::int64_t node, std::int64_t gpu, std::int64_t target, std::vector<LinkId>& route) const;

  bool find_over_fabric(std::int64_t from, std::int64_t to, std::vector<LinkId>& route);
  Crossing cross(std::int64_t from_nic, std::int64_t to_nic, std::uint64_t hash);
  void append_crossing(const Crossing& crossing, std::uint64_t hash, std::vector<LinkId>& route);
  const std::vector<std::uint16_t>& hops_to(std::int64_t fabric_switch);

  std::shared_ptr<const Wiring> wiring_;
  std::shared_ptr<const RoutingGraphs> graphs_;
  std::vector<char> dead_;
  NodeRoutes healthy_;
  std::map<std::int64_t, NodeRoutes> damaged_;  // by node
  std::unordered_map<std::int64_t, std::vector<std::uint16_t>> hops_;
  std::unordered_map<std::int64_t, std::vector<std::int16_t>> other_nics_;  // by GPU: if its own does not work
};

/// The structures that all routers of one wiring share.
std::shared_ptr<const RoutingGraphs> routing_graphs(const Wiring& wiring);

}  // namespace foretoken::plan
