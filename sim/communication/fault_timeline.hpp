// Faults in simulated time: what each of them does to the fabric, and how fast GPUs are.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ids.hpp"
#include "core/units.hpp"
#include "plan/faults.hpp"
#include "sim/communication/fabric.hpp"

namespace foretoken::sim {

/// Faults take effect one after the other, in order of time. Belongs to one run.
class FaultTimeline {
 public:
  /// @param faults  in order of time
  /// @param fabric  kept by reference, and changed by carry_out()
  FaultTimeline(std::vector<plan::Fault> faults, Fabric& fabric);

  [[nodiscard]] std::size_t size() const { return faults_.size(); }
  [[nodiscard]] SimTime time(std::size_t fault) const { return faults_[fault].from; }
  /// Resources over which nothing can go once this fault has taken effect; ascending.
  [[nodiscard]] std::vector<std::int32_t> dying(std::size_t fault) const;
  /// The fault takes effect. @return resources whose capacity it changes
  std::vector<CapacityChange> carry_out(std::size_t fault);
  /// Of a rank's GPU now, 1 when nothing ails it: its compute ops take 1 / speed times as long.
  [[nodiscard]] double speed(RankId rank) const;

 private:
  std::vector<plan::Fault> faults_;
  Fabric& fabric_;
  std::vector<double> speed_;  // [rank]; empty while all are 1
};

}  // namespace foretoken::sim
