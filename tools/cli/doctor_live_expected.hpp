// What a calibration and a topology say of the things that a live diagnosis measures.
#pragma once

#include <cstdint>
#include <optional>

#include "core/calibration.hpp"
#include "core/ids.hpp"
#include "core/units.hpp"
#include "plan/machine/machine.hpp"
#include "runtime/health/health_probe.hpp"

namespace foretoken::cli {

class LiveExpected {
 public:
  /// Keeps all: null or not about these ranks where that is not known.
  /// @param core_product  rows, columns and depth of the product that was measured
  LiveExpected(const plan::Machine* machine, const Calibration* calibration, const runtime::HealthReadings& readings,
               std::int64_t core_product);

  /// Whether the machine has as many GPUs and nodes as the launch.
  [[nodiscard]] bool knows_links() const { return knows_links_; }
  /// Seconds per FLOP of the product, by itself on a core or a GPU.
  [[nodiscard]] std::optional<double> product() const;
  /// Seconds per byte from one rank to another.
  [[nodiscard]] std::optional<double> per_byte(RankId from, RankId to) const;
  /// Seconds of a message of 8 bytes between two ranks.
  [[nodiscard]] std::optional<double> latency(RankId from, RankId to) const;
  /// Of a host's wire bytes, how many are payload; 1 if not known.
  [[nodiscard]] double payload() const;

 private:
  [[nodiscard]] double narrowest(RankId from, RankId to) const;
  [[nodiscard]] const HostNetwork* host_network() const;
  [[nodiscard]] bool of_gpus() const { return gpus_ && calibration_ != nullptr && !calibration_->host; }
  [[nodiscard]] Seconds message(RankId from, RankId to, Bytes bytes) const;

  const plan::Machine* machine_;
  const Calibration* calibration_;
  const runtime::HealthReadings& readings_;
  std::int64_t core_product_;
  bool knows_links_;
  bool gpus_;
};

}  // namespace foretoken::cli
