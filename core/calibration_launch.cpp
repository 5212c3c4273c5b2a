#include "core/calibration_launch.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace foretoken {
namespace {

LaunchCosts read_costs(const JsonReader& place) {
  JsonObject object(place);
  LaunchCosts costs;
  costs.launch = object.require("launch").as_duration(Seconds(0), kLaunchMax);
  costs.gap = object.require("gap").as_duration(Seconds(0), kLaunchMax);
  object.finish();
  return costs;
}

nlohmann::json json_of(const LaunchCosts& costs) {
  const auto text = [](Seconds time) { return fmt::format("{:.6g} us", time.value() * 1e6); };
  return {{"launch", text(costs.launch)}, {"gap", text(costs.gap)}};
}

}  // namespace

LaunchCalibration read_launch_calibration(const JsonReader& place) {
  JsonObject object(place);
  LaunchCalibration launch;
  launch.graph = read_costs(object.require("graph"));
  launch.eager = read_costs(object.require("eager"));
  launch.provenance = object.require("provenance").as_enum(kProvenanceNames);
  launch.source = object.require("source").as_string();
  object.finish();
  return launch;
}

nlohmann::json to_json(const LaunchCalibration& launch) {
  return {{"graph", json_of(launch.graph)},
          {"eager", json_of(launch.eager)},
          {"provenance", name_of(launch.provenance)},
          {"source", launch.source}};
}

}  // namespace foretoken
