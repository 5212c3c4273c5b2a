#include "core/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/json_text.hpp"
#include "core/schema_header.hpp"

namespace foretoken {

namespace {

using Json = nlohmann::json;

constexpr std::int64_t kSchemaVersion = 1;
constexpr std::size_t kSourcesMax = 256;

// Every "source" below `place` has to be a listed id, wherever the parts of the file keep theirs.
void require_listed_sources(const Json& value, const std::string& pointer, const Calibration& calibration,
                            const std::string& file) {
  if (!value.is_structured()) return;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (it->is_number()) continue;  // most of a calibration
    const std::string below =
        pointer + "/" + (value.is_object() ? it.key() : std::to_string(std::distance(value.begin(), it)));
    if (value.is_object() && it.key() == "source" && it->is_string()) {
      const auto& id = it->get_ref<const std::string&>();
      const auto listed = [&id](const CalibrationSource& source) { return source.id == id; };
      if (std::none_of(calibration.sources.begin(), calibration.sources.end(), listed))
        throw input_error(file, below, fmt::format("\"{}\" is not the id of a source", id),
                          "list it under \"sources\", or name one that is there");
    } else {
      require_listed_sources(*it, below, calibration, file);
    }
  }
}

CalibrationSource read_source(const JsonReader& place) {
  JsonObject object(place);
  CalibrationSource source;
  source.id = object.require("id").as_string();
  source.citation = object.require("citation").as_string();
  source.license = object.require("license").as_string();
  source.rows = object.require("rows").as_integer(0, 1'000'000'000);
  source.note = object.require("note").as_string(true);
  object.finish();
  return source;
}

}  // namespace

Calibration read_calibration(const std::filesystem::path& path) {
  return read_calibration(JsonDocument::from_file(path));
}

Calibration read_calibration(const JsonDocument& document) {
  JsonObject root(document.root());
  read_schema_header(root, "calibration", kSchemaVersion);
  Calibration out;
  out.file = document.name();
  out.name = root.require("name").as_string();

  const auto host = root.optional("host");
  JsonObject device(root.require("device"));
  out.device.name = device.require("name").as_string();
  if (!host) {
    out.device.memory_bandwidth =
        device.require("memory_bandwidth").as_bandwidth(BytesPerSecond(1e6), BytesPerSecond(1e15));
    out.device.peak_bf16 = device.require("peak_bf16").as_flop_rate(FlopsPerSecond(1e6), FlopsPerSecond(1e18));
  }
  device.finish();
  if (const auto place = root.optional("derived")) {
    if (host) place->fail("\"derived\" in a calibration of a host", "remove it: only those of GPUs are derived");
    JsonObject derived(*place);
    const JsonReader at_best = derived.require("at_best");
    out.derived = Derivation{derived.require("from").as_string(), at_best.as_enum(kProvenanceNames)};
    if (out.derived->at_best < Provenance::extrapolated)
      at_best.fail(at_best.shown(), "what was not measured here is extrapolated or assumed");
    derived.finish();
  }

  for (const JsonReader& place : root.require("sources").as_array(1, kSourcesMax)) {
    CalibrationSource source = read_source(place);
    for (const CalibrationSource& other : out.sources)
      if (other.id == source.id)
        place.fail(fmt::format("id \"{}\" appears twice", source.id), "give each source its own id");
    out.sources.push_back(std::move(source));
  }
  std::vector<JsonReader> parts;
  if (host) {
    parts.push_back(*host);
    out.host = read_host_calibration(*host);
  } else {
    parts.push_back(root.require("compute"));
    out.compute = read_compute_calibration(parts.back());
    parts.push_back(root.require("network"));
    out.network = read_network_calibration(parts.back());
    if (out.derived) out.compute.at_best = out.network.at_best = out.derived->at_best;
    if (const auto interference = root.optional("interference")) {
      parts.push_back(*interference);
      out.interference = read_interference_calibration(*interference);
    }
    if (const auto launch = root.optional("launch")) {
      parts.push_back(*launch);
      out.launch = read_launch_calibration(*launch);
    }
  }
  root.finish();
  for (const JsonReader& part : parts) require_listed_sources(part.json(), part.pointer(), out, out.file);
  return out;
}

std::string calibration_text(const Calibration& calibration) {
  Json sources = Json::array();
  for (const CalibrationSource& source : calibration.sources)
    sources.push_back({{"id", source.id},
                       {"citation", source.citation},
                       {"license", source.license},
                       {"rows", source.rows},
                       {"note", source.note}});
  Json json{{"schema_version", kSchemaVersion},
            {"kind", "calibration"},
            {"name", calibration.name},
            {"device", {{"name", calibration.device.name}}},
            {"sources", sources}};
  if (calibration.host) {
    json["host"] = to_json(*calibration.host);
    return readable_json(json);
  }
  json["device"]["memory_bandwidth"] = fmt::format("{:.6g} TB/s", calibration.device.memory_bandwidth.value() / 1e12);
  json["device"]["peak_bf16"] = fmt::format("{:.6g} TFLOP/s", calibration.device.peak_bf16.value() / 1e12);
  if (calibration.derived)
    json["derived"] = {{"from", calibration.derived->from},
                       {"at_best", std::string(name_of(calibration.derived->at_best))}};
  json["compute"] = to_json(calibration.compute);
  json["network"] = to_json(calibration.network);
  if (!calibration.interference.source.empty()) json["interference"] = to_json(calibration.interference);
  if (!calibration.launch.source.empty()) json["launch"] = to_json(calibration.launch);
  return readable_json(json);
}

void require_calibration_for(const Calibration& calibration, const DeviceSpec& device) {
  if (calibration.device.name == device.name) return;
  if (calibration.host && device.name == kAnyCpu) return;
  throw input_error(
      calibration.file, "/device/name",
      fmt::format("\"{}\" is calibrated here, but the topology has \"{}\"", calibration.device.name, device.name),
      fmt::format("choose a calibration made for {}", device.name));
}

}  // namespace foretoken
