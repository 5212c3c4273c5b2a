// What a measurement consists of, part by part, in the order in which they are made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "calibrate/measure/compute_probe.hpp"
#include "calibrate/measure/probes.hpp"
#include "core/calibration_host.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

struct SchedulePart {
  enum class Kind { cache, compute, communication };
  Kind kind = Kind::cache;
  std::string name;       ///< "cache alone 65536", "compute 2 tiny", "messages exchange-2-8x128": no two alike
  HostLoad load{};        ///< of a point of the cache curve
  Bytes footprint;        ///< of the same
  int round = 0;          ///< of a compute probe, from 0
  std::size_t probe = 0;  ///< into Schedule::compute or Schedule::communication
};

struct ScheduleOptions {
  std::int64_t cores = 1;
  std::int64_t ranks = 0;                        ///< processes of a launch; 0: ranks are threads
  std::int64_t seed = 1;                         ///< of the order of probes
  std::vector<std::filesystem::path> scenarios;  ///< what is measured for; empty: the built-in probes
};

struct Schedule {
  std::vector<ComputeProbe> compute;
  std::vector<CommunicationProbe> communication;
  int rounds = 1;                      ///< in which compute probes come round, in another order each time
  std::vector<SchedulePart> parts;     ///< under a launcher messages alone
  std::vector<std::string> scenarios;  ///< names and hashes of the plans that are measured for
};

/// @throws Error{invalid_input} if a scenario cannot run here, or under a launcher if none has as many ranks
/// @throws Error as plan::parse_scenario and plan::make_plan do
Schedule make_schedule(const ScheduleOptions& options);

}  // namespace foretoken::calibrate
