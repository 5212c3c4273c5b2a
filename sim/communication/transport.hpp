// What carries bytes between ranks, and what ranks share while they work: the seam between the simulator's rules of
// communication and the machine under them.
//
// Two machines stand behind it: GPUs and their links (fabric.hpp), and the cores of one computer (host_transport.hpp).
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/cost/network_cost.hpp"
#include "sim/network/max_min.hpp"

namespace foretoken::sim {

/// What a collective or a transfer puts on the machine: a fixed latency, then one activity over all that it uses.
struct Footprint {
  Seconds latency;
  double demand = 0;              // of the activity; 0: the latency is all
  double ceiling = 0;             // advance per second when alone
  std::vector<ResourceUse> uses;  // amount of each per unit of advance
  Provenance provenance = Provenance::measured;
  Seconds cpu{};  // of each member's thread, where ranks are threads
};

/// From participant to participant of an exchange (indices into Meeting::participants).
struct ExchangeMessage {
  std::int32_t from = 0;
  std::int32_t to = 0;
  Bytes bytes;
  std::int32_t round = 0;  // begins at a rank when that has done with its messages of the round before
};

/// What all messages of an exchange have in common.
struct ExchangeTraits {
  Seconds latency;
  Provenance provenance = Provenance::measured;
};

/// A resource that reports show: a link.
struct LinkResource {
  std::int32_t resource = 0;
  std::string name;
  std::string link_class;
};

/// One message under way: an activity. What it uses is handed back beside it.
struct MessageLoad {
  double demand = 0;
  double ceiling = std::numeric_limits<double>::infinity();
};

/// No way is left from one rank to another.
class Unreachable : public Error {
 public:
  explicit Unreachable(const std::string& message) : Error(ErrorCode::rank_failed, message) {}
};

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  /// Of every resource, per second.
  [[nodiscard]] virtual std::vector<double> capacities() const = 0;
  /// Those of them that are links, in bytes per second; none if ranks share no links.
  [[nodiscard]] virtual std::vector<LinkResource> link_resources() const { return {}; }

  /// @param members ranks of the group, >= 1, ascending
  [[nodiscard]] virtual Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm,
                                             std::span<const RankId> members, Bytes bytes) const = 0;
  [[nodiscard]] virtual Footprint transfer(RankId from, RankId to, Bytes bytes) const = 0;

  /// @param messages  of the exchange's first round, between the ranks in `participants`
  /// @param experts   that the group has
  /// @param sent_max  the most that a rank sends, its own share included
  /// @param units     of that rank
  [[nodiscard]] virtual ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                                std::span<const ExchangeMessage> messages, std::int64_t experts,
                                                Bytes sent_max, ExchangeUnits units) const = 0;
  /// The latency of a later round.
  [[nodiscard]] virtual Seconds next_round(std::span<const RankId> participants,
                                           std::span<const ExchangeMessage> messages) const;
  /// @param uses  out, replaced
  [[nodiscard]] virtual MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                            std::vector<ResourceUse>& uses) const = 0;

  /// What the latencies and demands above are to be multiplied by, > 0: scaled_transport.hpp.
  /// @param kind  of the op, as in the trace; a send and its recv are one, "send"
  [[nodiscard]] virtual double stretch(std::string_view kind, Provenance provenance) const;

  /// What a compute op uses per second of its own time, where it shares anything.
  /// @param uses  out, replaced
  /// @return the op's weight: of two that have a resource as their bottleneck, rates are as their weights
  virtual double compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const;

  // ---- ranks as threads of a computer: nothing of it is so on GPUs ----

  /// Whether rows that stay on their rank take time in an exchange, and thus are messages too.
  [[nodiscard]] virtual bool copies_in_place() const { return false; }
  /// CPU time of a compute op: longer than alone where all cores are at work.
  [[nodiscard]] virtual Seconds compute_cpu(const Estimate& estimate) const;
  /// CPU time of a rank in an exchange. @param rounds with messages
  [[nodiscard]] virtual Seconds exchange_cpu(std::int64_t rounds, std::int64_t messages, Bytes bytes,
                                             Bytes copied) const;
  /// Whether the times above are known.
  [[nodiscard]] virtual bool has_cpu_times() const { return false; }
};

}  // namespace foretoken::sim
