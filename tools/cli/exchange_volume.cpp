#include "tools/cli/exchange_volume.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "plan/scenario/names.hpp"

namespace foretoken::cli {

std::string text_of(const plan::ExchangeVolume& volume, const plan::Scenario& scenario) {
  const std::string_view mode = name_of(scenario.deployment.dispatch_mode, plan::kDispatchModeNames);
  if (scenario.deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical)
    return fmt::format(
        "({}, once per node): {:.2f} MB per step between ranks, {:.2f} MB of it between nodes; a row "
        "for each expert would be {:.2f} and {:.2f} MB",
        mode, volume.wire / 1e6, volume.wire_across / 1e6, volume.useful / 1e6, volume.useful_across / 1e6);
  return fmt::format("({}): {:.2f} MB per step between ranks, {:.2f} MB of it useful; counts {:.3f} MB", mode,
                     volume.wire / 1e6, volume.useful / 1e6, volume.counts / 1e6);
}

nlohmann::ordered_json json_of(const plan::ExchangeVolume& volume) {
  nlohmann::ordered_json json = {{"useful", volume.useful}, {"wire", volume.wire}, {"counts", volume.counts}};
  if (volume.useful_across > 0 || volume.wire_across > 0) {
    json["useful_across_nodes"] = volume.useful_across;
    json["wire_across_nodes"] = volume.wire_across;
  }
  return json;
}

}  // namespace foretoken::cli
