// One communication at a time among ranks that are threads of a computer: what a live run of it measures.
#pragma once

#include <cstdint>

#include "sim/collective/alone.hpp"
#include "sim/communication/host_transport.hpp"

namespace foretoken::sim {

/// As Alone, over a computer's cores instead of links. Messages of an all-to-all are the sends and receives that a live
/// run makes of it, each with its call and its round.
class HostAlone {
 public:
  /// Ranks 0 .. ranks-1 take part: all that the transport has. Keeps a reference to it.
  HostAlone(const HostTransport& transport, std::int32_t ranks, const AloneOptions& options = {});

  /// @param algorithm ring or direct
  [[nodiscard]] AloneResult collective(CollectiveOp op, CollectiveAlgorithm algorithm, Bytes bytes) const;
  [[nodiscard]] AloneResult all_to_all(AllToAllAlgorithm algorithm, const TrafficMatrix& matrix) const;
  [[nodiscard]] AloneResult send_recv(Bytes bytes) const;

 private:
  [[nodiscard]] AloneResult together(std::span<const Footprint> footprints) const;

  const HostTransport& transport_;
  std::int32_t ranks_;
  AloneOptions options_;
};

}  // namespace foretoken::sim
