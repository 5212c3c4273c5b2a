#include "tools/cli/nccl_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "calibrate/import/node_shape.hpp"
#include "core/error.hpp"
#include "core/json_reader.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using runtime::cuda::ChosenCollective;
using runtime::cuda::NcclChoice;
using runtime::cuda::NcclEstimate;
using runtime::cuda::NcclObservation;

constexpr std::size_t kResultTextMax = 256;

calibrate::NodeShape shape_of(const std::string& xml) {
  return calibrate::read_nccl_topology({xml, "NCCL_TOPO_DUMP_FILE"});
}

Json topology_json(const std::string& xml, const plan::Topology& topology) {
  Json json;
  try {
    const calibrate::NodeShape shape = shape_of(xml);
    json = {
        {"gpus", shape.gpus}, {"nics", shape.nics}, {"nvlinks", shape.nvlinks}, {"pcie_switches", shape.pcie_switches}};
  } catch (const Error&) {
    json = Json::object();  // the differences say why
  }
  json["differences"] = topology_differences(xml, topology);
  return json;
}

std::string in_words(const NcclChoice& choice) {
  return fmt::format("{} with {}{}", choice.algorithm, choice.protocol,
                     choice.channels > 0 ? fmt::format(" on {} channels", choice.channels) : "");
}

std::string in_words(const ChosenCollective& one) {
  return fmt::format("{} of {} bytes among {} ranks", plan::name_of(one.kind), one.bytes, one.ranks);
}

}  // namespace

std::vector<std::string> topology_differences(const std::string& xml, const plan::Topology& topology) {
  std::vector<std::string> differences;
  try {
    const calibrate::NodeShape shape = shape_of(xml);
    const auto compare = [&](const char* what, std::int64_t seen, std::int64_t planned) {
      if (seen != planned)
        differences.push_back(
            fmt::format("NCCL saw {} {} in a node, and {} has {}", seen, what, topology.name, planned));
    };
    compare("GPUs", shape.gpus, topology.gpus_per_node);
    compare("NICs", shape.nics, plan::nics_of_a_node(topology));
    if (shape.nvlinks == 0 && topology.gpus_per_node > 1)
      differences.push_back(fmt::format("NCCL saw no NVLinks, and {} has an NVSwitch", topology.name));
    if (shape.nic_bandwidth > BytesPerSecond(0) && topology.nic_bandwidth > BytesPerSecond(0) &&
        (ratio(shape.nic_bandwidth, topology.nic_bandwidth) > 1.1 ||
         ratio(shape.nic_bandwidth, topology.nic_bandwidth) < 0.9))
      differences.push_back(fmt::format("NCCL saw NICs of {:.0f} Gb/s, and {} has {:.0f} Gb/s",
                                        shape.nic_bandwidth.value() * 8e-9, topology.name,
                                        topology.nic_bandwidth.value() * 8e-9));
  } catch (const Error& error) {
    differences.push_back(fmt::format("what NCCL saw is no topology that foretoken can say: {}", error.what()));
  }
  return differences;
}

Json nccl_json(const NcclObservation& observed, const plan::Topology& topology) {
  Json collectives = Json::array();
  for (const ChosenCollective& one : observed.collectives) {
    Json chosen = Json::array();
    for (const NcclChoice& choice : one.chosen)
      chosen.push_back({{"algorithm", choice.algorithm}, {"protocol", choice.protocol}, {"channels", choice.channels}});
    collectives.push_back({{"op", plan::name_of(one.kind)},
                           {"ranks", one.ranks},
                           {"bytes", one.bytes},
                           {"planned", name_of(one.planned)},
                           {"chosen", std::move(chosen)},
                           {"agrees", one.agrees()},
                           {"ambiguous", one.ambiguous}});
  }
  Json estimates = Json::array();
  for (const NcclEstimate& one : observed.estimates)
    estimates.push_back({{"communicator", one.family},
                         {"function", one.function},
                         {"bytes", one.bytes},
                         {"estimated_us", one.time.value() * 1e6}});
  Json json{{"collectives", std::move(collectives)},
            {"settings", runtime::cuda::settings_of(observed.collectives)},
            {"estimates", std::move(estimates)}};
  if (!observed.not_read.empty()) json["not_read"] = observed.not_read;
  if (!observed.topology.empty()) json["topology"] = topology_json(observed.topology, topology);
  return json;
}

std::string nccl_text(const NcclObservation& observed, const plan::Topology& topology) {
  std::string text;
  if (!observed.not_read.empty()) text += fmt::format("  NCCL's choices were not recorded: {}\n", observed.not_read);
  for (const ChosenCollective& one : observed.collectives) {
    if (one.agrees()) continue;
    std::string chosen;
    for (const NcclChoice& choice : one.chosen) chosen += (chosen.empty() ? "" : ", ") + in_words(choice);
    text +=
        fmt::format("  NCCL carried out {} as {}, and the plan says {}\n", in_words(one), chosen, name_of(one.planned));
  }
  if (!observed.topology.empty())
    for (const std::string& difference : topology_differences(observed.topology, topology))
      text += fmt::format("  warning: {}\n", difference);
  return text;
}

std::vector<std::string> settings_of_result(const std::filesystem::path& result) {
  const JsonDocument document = JsonDocument::from_file(result);
  const auto none = [&](const char* pointer, const char* found) {
    return input_error(result.string(), pointer, found,
                       "give what foretoken run --backend cuda --nccl-chooses --out FILE has stored");
  };
  const auto& json = document.json();
  if (!json.is_object() || !json.contains("live") || !json["live"].contains("cuda"))
    throw none("/live/cuda", "is not there: it is no result of a run on GPUs");
  const auto& cuda = json["live"]["cuda"];
  if (!cuda.contains("observed")) throw none("/live/cuda/observed", "is not there: NCCL noted nothing");
  JsonObject root(document.root());
  JsonObject live(root.require("live"));
  JsonObject gpus(live.require("cuda"));
  JsonObject observed(gpus.require("observed"));
  std::vector<std::string> settings;
  for (const JsonReader& setting : observed.require("settings").as_array(0, kResultTextMax)) {
    settings.push_back(setting.as_string());
    if (!settings.back().starts_with("deployment.collectives."))
      setting.fail(setting.shown(), "only deployment.collectives is NCCL's to choose");
  }
  // A scenario names one algorithm per kind; where NCCL took several, none is right.
  for (const JsonReader& place : observed.require("collectives").as_array(0, 100'000)) {
    JsonObject one(place);
    const std::string key = "deployment.collectives." + one.require("op").as_string() + "=";
    const bool chosen = !one.require("chosen").as_array(0, 100'000).empty();
    const bool set = std::any_of(settings.begin(), settings.end(),
                                 [&](const std::string& setting) { return setting.starts_with(key); });
    if (chosen && !set)
      place.fail("NCCL took algorithms for this op that a scenario cannot name, or several for one op",
                 "choose with --set " + key + "ring, …");
  }
  if (settings.empty()) throw none("/live/cuda/observed/settings", "is empty: NCCL's log had no choices");
  return settings;
}

}  // namespace foretoken::cli
