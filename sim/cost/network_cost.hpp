// How long communication takes when it is alone, and what it puts on the links.
//
// One estimator for collectives, messages and expert exchange; sharing links with others is the solver's business. The
// parameters are a NetworkCalibration's; the equations stand at each method, derived once, and the fit in
// calibrate/fit/network_fit.cpp evaluates these same methods.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "core/calibration_network.hpp"
#include "core/collective_algorithm.hpp"
#include "core/link_class.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

/// Who takes part in a collective.
struct CollectiveGroup {
  int ranks = 1;
  int nodes = 1;
  int fewest_on_node = 1;  // ranks on the node that has the fewest
  int most_on_node = 1;    // and on the one that has the most

  [[nodiscard]] bool evenly_spread() const { return fewest_on_node == most_on_node; }
};

/// Alone on the calibrated machine: time = latency + transfer.
struct CollectiveEstimate {
  Seconds latency;           // holds no link
  Seconds transfer;          // the larger of endpoint and what the NIC needs at its calibrated rate
  Seconds endpoint;          // what kernels and NVLink need for the transfer, however fast the network is: the ceiling
  Bytes bytes_in_node;       // per rank and direction, over its NVLink
  Bytes bytes_across_nodes;  // per rank and direction, over its NIC
  Provenance provenance = Provenance::measured;

  [[nodiscard]] Seconds total() const { return latency + transfer; }
};

/// Alone: time = latency + bytes / rate.
struct MessageEstimate {
  Seconds latency;
  Seconds transfer;
  BytesPerSecond rate;  // ceiling of this message in the solver
  Provenance provenance = Provenance::measured;

  [[nodiscard]] Seconds total() const { return latency + transfer; }
};

/// Fixed part of a dispatch or combine; its bytes are flows under these ceilings.
struct ExchangeEstimate {
  Seconds latency;
  BytesPerSecond rate_in_node;  // of one rank's NVLink traffic, each direction
  BytesPerSecond nic_rate;      // of one rank's NIC traffic, each direction: what the calibrated NIC lets through
  BytesPerSecond kernel_rate{std::numeric_limits<double>::infinity()};  // and what its SMs move, whatever the NIC
  Provenance provenance = Provenance::measured;

  /// Of one rank's NIC traffic, each direction, where NICs are `nic_speed_up` times as fast as the calibrated one.
  [[nodiscard]] BytesPerSecond rate_across_nodes(double nic_speed_up = 1) const {
    return std::min(nic_rate * nic_speed_up, kernel_rate);
  }
};

struct LinkRate {
  double payload_efficiency = 1.0;
  Provenance provenance = Provenance::assumed;
};

/// What the thread blocks of an exchange kernel work through one after the other, of the rank that sends most, its own
/// share included.
struct ExchangeUnits {
  std::int64_t count = 0;  // tokens (dispatch) or rows (combine); 0: not counted
  Bytes row{};             // of one token for one expert
};

enum class Span : std::uint8_t { in_node, across_nodes };
enum class ExchangeOp : std::uint8_t { dispatch, combine };

class NetworkCost {
 public:
  explicit NetworkCost(NetworkCalibration calibration);

  /// A collective over the group's GPUs.
  ///
  /// @param bytes  all_reduce: the buffer on each rank; all_gather: the gathered output; reduce_scatter: the full input
  /// Preconditions (checked): a rank or more on each node; 0 <= bytes <= 2^60; nvls in one node only; trees for
  /// all_reduce only; nvls_tree with two ranks or more on some node. One rank or no bytes takes no time. Never
  /// decreases as bytes grow.
  ///
  /// With n ranks, s = n-1 steps (all_reduce: 2(n-1)), g = ranks on a node, B = bytes:
  ///
  ///   ring    latency  = base + (s-h) step + h network_step, where h = nodes (all_reduce: 2 nodes), at most s, or 0 in
  ///                      one node: a chunk goes once around the ring, twice for all_reduce, and each turn crosses
  ///                      from node to node as often as there are nodes
  ///           transfer = the protocol that makes latency + transfer least:
  ///                        LL, LL128   (s+1) B/n / rate          every rank's kernel handles s+1 chunks of B/n
  ///                        Simple      s B/n / wire + B/n / local
  ///                      with wire reduced to the (g-1)/g of it that stays on NVLink when there are several nodes;
  ///                      each rank's NIC carries the other s B/n / g, because g rings leave the node through g NICs
  ///   nvls    latency + (1 + 1/n) B / wire: the switch reads a rank's whole buffer and its share of the sum;
  ///           all_gather, reduce_scatter: latency + B / wire: it writes, or reads, the whole to every rank
  ///   tree    with d = floor(log2(nodes)) steps between nodes and g-1 along the chain in one, up and down again:
  ///             LL      base + 2 (g-1) step + 2 d tree.network_step + 2 B / tree.ll_rate
  ///             Simple  base + simple + 2 (g-1) step + 2 d network_step + 2 (g-1)/g B / wire
  ///           LL128 is left out: nobody measured it. Each NIC carries 1/g of what the busiest node sends, which is
  ///           node_tree_share(nodes) buffers.
  ///   nvls_tree  latency + 2 (d-1) tree.network_step + w + 2 sqrt(fill d w), w = (1 + 1/g) B / wire: a buffer in k
  ///           chunks passes the stages in k + (stages-1) steps of w/k + (what a chunk costs), least for the k that
  ///           leaves the root. NICs as for the tree.
  ///   direct  base + (n-1) peer + (bytes sent) / one_shot, where a rank sends (n-1)/n B, or (n-1) B in a one-shot
  ///           all_reduce; or, if faster, two shots: second_shot + base + 2(n-1) peer + 2(n-1)/n B / two_shot.
  ///           Across nodes each shot adds network_step, and (n-g)/(n-1) of the bytes go over the NIC.
  ///
  /// Of unevenly spread ranks g is that of the node with the fewest wherever NICs or NVSwitches are concerned: as many
  /// rings, or parts of a tree, leave every node as leave that one. It is that of the node with the most along chains
  /// and for what stays on NVLink. Nobody measured either: extrapolated.
  ///
  /// Source of the form: the published protocols of NCCL. Limits: LL's and LL128's flags are inside the fitted rates,
  /// so the bytes on the links are payload.
  /// Example: base 1 us, step 1 us, LL at 1 GB/s: 1 KB all_gathered over 4 ranks: 4 us + (3+1) 250 B / 1 GB/s = 5 us.
  [[nodiscard]] CollectiveEstimate collective(CollectiveOp op, CollectiveAlgorithm algorithm,
                                              const CollectiveGroup& group, Bytes bytes) const;
  /// Of ranks that are spread as evenly as they can be.
  [[nodiscard]] CollectiveEstimate collective(CollectiveOp op, CollectiveAlgorithm algorithm, int ranks, int nodes,
                                              Bytes bytes) const {
    const int divisor = std::max(1, nodes);
    return collective(op, algorithm, {ranks, nodes, ranks / divisor, (ranks + divisor - 1) / divisor}, bytes);
  }

  /// One message between two GPUs: latency(span) + bytes / rate(span). No bytes still costs the latency: both sides
  /// meet.
  [[nodiscard]] MessageEstimate message(Span span, Bytes bytes) const;

  /// Fixed part and ceilings of a token exchange among `ranks` GPUs on `nodes`.
  ///
  ///   latency = latency(nodes == 1 ? one node : across) + queues x queue_latency
  ///             + ceil(units / blocks) (unit_latency + row / rate),  blocks = ceil(queues / ceil(queues / SMs))
  ///
  /// The second line is of calibrations that know the kernel's blocks: there is one for every expert, or for every few
  /// where experts are more than SMs, and few experts leave most SMs idle. Source of the form: DeepEP's low-latency
  /// kernels, csrc/kernels/internode_ll.cu. It adds to the time on the links, as the published times do: a block casts
  /// a token and waits for it before it copies.
  ///
  /// @param queues  destination experts (dispatch) or source experts (combine) over all ranks: each is told its count
  /// @param bytes   what the busiest rank sends, its own share included; decides the provenance alone
  /// One rank takes no time: nothing leaves it.
  [[nodiscard]] ExchangeEstimate exchange(ExchangeOp op, int ranks, int nodes, int queues, Bytes bytes,
                                          ExchangeUnits units = {}) const;

  /// The same for the kernels that send a token once per node (ExchangeAlgorithm::hierarchical).
  ///
  ///   latency = latency(nodes == 1 ? one node : across)
  ///   rate_in_node = min(SMs x rate per SM, ceiling)     kernel_rate = SMs x rate per SM     nic_rate = NIC
  ///
  /// @param sms    that the kernel is given, >= 1
  /// @param bytes  what the busiest rank sends over NVLink; decides the provenance alone
  [[nodiscard]] ExchangeEstimate hierarchical_exchange(ExchangeOp op, int ranks, int nodes, int sms, Bytes bytes) const;

  [[nodiscard]] LinkRate link(LinkClass which) const;
  [[nodiscard]] const NetworkCalibration& calibration() const { return calibration_; }

 private:
  [[nodiscard]] CollectiveEstimate ring(CollectiveOp op, const CollectiveGroup& group, double bytes) const;
  [[nodiscard]] CollectiveEstimate nvls(CollectiveOp op, int ranks, double bytes) const;
  [[nodiscard]] CollectiveEstimate tree(const CollectiveGroup& group, double bytes) const;
  [[nodiscard]] CollectiveEstimate nvls_tree(const CollectiveGroup& group, double bytes) const;
  [[nodiscard]] TreeCalibration tree_calibration() const;
  [[nodiscard]] CollectiveEstimate direct(CollectiveOp op, const CollectiveGroup& group, double bytes) const;
  [[nodiscard]] BytesPerSecond nic_rate() const;

  NetworkCalibration calibration_;
};

/// SMs of the kernels that send a token once per node, where nobody says otherwise. Source: DeepEP's own default.
inline constexpr int kHierarchicalSms = 20;

/// The same machine with other exchange kernels: dispatch and combine are what NetworkCost::hierarchical_exchange makes
/// of them. A calibration without them stays as it is, and what it predicts counts as extrapolated.
NetworkCalibration with_hierarchical_exchange(NetworkCalibration network, int sms);

/// Time of an exchange that is alone: its fixed part, then NVLink and NIC at once, each at its ceiling.
///
///   latency + max(bytes_in_node / rate_in_node, bytes_across_nodes / rate_across_nodes())
///
/// @param bytes_in_node       what the busiest rank sends or receives over NVLink
/// @param bytes_across_nodes  and over its NIC
Seconds exchange_alone(const ExchangeEstimate& estimate, Bytes bytes_in_node, Bytes bytes_across_nodes);

}  // namespace foretoken::sim
