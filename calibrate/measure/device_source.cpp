#include "calibrate/measure/device_source.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

namespace foretoken::calibrate {

std::string conditions_text(const DeviceMeasurement& measured) {
  runtime::cuda::GpuConditions all;
  std::set<std::string> reasons;
  double power = 0;
  for (const ProbeTimes& times : measured.times) {
    const runtime::cuda::GpuConditions& c = times.conditions;
    if (c.samples == 0) continue;
    all.sm_clock_mhz_min = all.samples == 0 ? c.sm_clock_mhz_min : std::min(all.sm_clock_mhz_min, c.sm_clock_mhz_min);
    all.sm_clock_mhz_max = std::max(all.sm_clock_mhz_max, c.sm_clock_mhz_max);
    all.temperature_celsius_max = std::max(all.temperature_celsius_max, c.temperature_celsius_max);
    power += c.power_watts_mean * static_cast<double>(c.samples);
    all.samples += c.samples;
    reasons.insert(c.throttled.begin(), c.throttled.end());
  }
  if (all.samples == 0) return "";
  return fmt::format("SM clock {} to {} MHz, {:.0f} W, {} C at most{}{}", all.sm_clock_mhz_min, all.sm_clock_mhz_max,
                     power / static_cast<double>(all.samples), all.temperature_celsius_max,
                     reasons.empty() ? "" : ", slowed down by: ", fmt::join(reasons, ", "));
}

CalibrationSource device_source(const DeviceMeasurement& measured, const std::string& id, std::int64_t rows,
                                const std::string& how) {
  const runtime::cuda::ProbedMachine& machine = measured.machine;
  CalibrationSource source;
  source.id = id;
  source.citation = fmt::format("{} x {}, {}, {}{}; {}", measured.gpus.size(), machine.gpu.name, machine.driver,
                                machine.blas, machine.nccl.empty() ? "" : ", NCCL " + machine.nccl, measured.date);
  source.license = "own measurement";
  source.rows = rows;
  source.note = how;
  if (const std::string conditions = conditions_text(measured); !conditions.empty()) source.note += "; " + conditions;
  return source;
}

}  // namespace foretoken::calibrate
