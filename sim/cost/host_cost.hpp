// The time of an op on one CPU core: amounts of the terms (host_amounts.hpp) times what each costs on this computer.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/calibration_host.hpp"
#include "plan/program/program.hpp"
#include "sim/cost/estimate.hpp"

namespace foretoken::sim {

/// CPU time of one rank for one op, under both loads.
struct HostEstimate {
  Seconds alone;    // no other core works
  Seconds crowded;  // all do; >= alone. Messages are measured among ranks that all work: the same
  Provenance provenance = Provenance::interpolated;
};

class HostCost {
 public:
  /// @param communicator  of HostCalibration::communication; empty: the first
  /// @param ranks_on_node that share the computer's last cache and take turns on its cores
  /// @throws Error{invalid_input} as HostCalibration::communicator
  HostCost(const HostCalibration& calibration, const std::string& communicator, std::int64_t ranks_on_node);

  /// @param reuse_distance  of the op's weights or KV cache on its rank, see reuse_distances
  ///
  /// The cache is the computer's: with a core's share of the ranks alone, with all of them (but at least one per core)
  /// crowded, as the probes had it.
  /// Provenance: `extrapolated` where the op takes less or more than any measured one of its family; `assumed` where
  /// none was measured, and the cost is a first guess.
  [[nodiscard]] HostEstimate compute(const plan::Role& role, const plan::Op& op,
                                     std::span<const std::int64_t> rows_per_expert, Bytes reuse_distance) const;

  /// @param amounts  of the communication terms
  /// Provenance: `extrapolated` where only ranks with cores of their own were measured and these take turns, or the
  /// other way round.
  [[nodiscard]] HostEstimate communication(const HostTerms& amounts) const;

  [[nodiscard]] Seconds wake() const { return communication_.wake; }

 private:
  const HostCalibration& calibration_;
  const HostCommunication& communication_;
  std::int64_t ranks_on_node_;
};

}  // namespace foretoken::sim
