// From what a health check has measured to what is wrong, with the evidence. Pure: measures and prints nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/ids.hpp"
#include "plan/machine/machine.hpp"
#include "runtime/health/health_probe.hpp"
#include "runtime/health/outliers.hpp"
#include "tools/collective/group_times.hpp"

namespace foretoken::cli {

/// One thing that was measured, beside its peers.
struct LiveCheck {
  std::string what;           // "product", "copy", "bandwidth within node", "all_reduce, ring, 16384 bytes, tp of 8"
  std::vector<RankId> ranks;  // of a link the sender and the receiver
  std::string unit;           // "FLOP/s", "B/s", "s"
  double reached = 0;         // per second more is better, of seconds less
  double typical = 0;         // of its peers, in the same unit
  std::optional<double> expected;  // by the calibration, in the same unit
  bool outlier = false;

  [[nodiscard]] bool is_time() const { return unit == "s"; }
  /// How good it is beside `other`: below 1 is worse.
  [[nodiscard]] double beside(double other) const { return is_time() ? other / reached : reached / other; }
};

struct LiveFinding {
  std::string what;
  std::string evidence;
  std::string likely;
  std::vector<std::int32_t> nodes;
  std::vector<RankId> ranks;
  std::string link;  // as the topology names it, where one is to blame: "node1.nic0 > switch"
};

struct LiveDiagnosis {
  runtime::HealthReadings readings;
  runtime::OutlierRule rule;
  std::vector<LiveCheck> checks;
  std::vector<LiveFinding> findings;  // in the order of the checks: cores, links, communications
};

struct LiveEvidence {
  runtime::HealthReadings readings;
  std::vector<collective::GroupTime> communications;  // of a scenario, as measured; may be empty
  std::vector<collective::GroupTime> predicted;       // the same by the calibration; empty if there is none
  const plan::Machine* machine = nullptr;             // what links are called and should do; null if not known
  const Calibration* calibration = nullptr;           // null if none is given
  std::size_t core_product = 256;                     // rows, columns and depth of the product that was measured
};

/// What takes 1 + this times as long as the calibration says, typically, is a finding.
inline constexpr double kCalibrationTolerance = 0.5;

/// With the prefix that leaves one to three digits before the point: (1.2e6, "B/s") -> "1.20 MB/s".
/// @param unit  "B/s", "FLOP/s" or "s"
std::string amount_text(double amount, const std::string& unit);

LiveDiagnosis assess(LiveEvidence evidence, const runtime::OutlierRule& rule);

}  // namespace foretoken::cli
