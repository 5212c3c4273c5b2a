// libFuzzer's entry for one importer, of the format FORETOKEN_FUZZ_FORMAT: whatever the bytes, it hands on sound
// numbers or refuses them with an Error of bad input that names the log. Built by tools/fuzz; the samples of
// tests/data/import are what it starts from.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/import/ibnetdiscover.hpp"
#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/node_shape.hpp"

namespace foretoken::calibrate {
namespace {

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

// All that an importer can ask for, so that it gets past asking.
std::vector<std::string> every_setting() {
  return {"op=all_reduce", "ranks=8",  "nodes=2",       "unit=Gb/sec", "ep=16",         "tokens=128",
          "hidden=7168",   "top_k=8",  "experts=256",   "date=today",  "sm=90",         "nic=400 Gb/s",
          "pcie=63 GB/s",  "name=any", "nvlink=1 TB/s", "gpus=8",      "device=a.json", "calibration=b.json"};
}

void check_op(const nlohmann::ordered_json& op) {
  const std::string text = op.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  require(op.at("op").is_string() && op.at("source").is_string(), text);
  const double time = op.at("measured_us").get<double>();
  require(std::isfinite(time) && time > 0, text);
}

void check_link(const LinkMeasurement& link) {
  require(link.rate.has_value() != link.latency.has_value(), link.test);
  if (link.rate) require(std::isfinite(link.rate->value()) && link.rate->value() > 0, link.test);
  if (link.latency) require(std::isfinite(link.latency->value()) && link.latency->value() > 0, link.test);
}

void import_all(LogFormat format, const LogPlace& log, bool keep_good) {
  const std::vector<std::string> assignments = every_setting();
  ImportSettings settings(assignments);
  if (is_fabric(format)) {
    std::set<std::string> notes;
    const auto topology = fabric_topology_of(log, std::nullopt, {"device.json", "calibration.json"}, settings, notes);
    require(topology.at("nodes").get<std::int64_t>() > 0, topology.dump());
    return;
  }
  if (is_topology(format)) {
    const NodeShape shape = read_node_shape(format, log);
    const auto topology = topology_of(shape, log, {"device.json", "calibration.json"}, settings);
    require(topology.at("node").at("gpus").get<std::int64_t>() > 0, topology.dump());
    return;
  }
  Imported imported(keep_good);
  import_measurements(format, log, settings, imported);
  for (const auto& op : imported.ops()) check_op(op);
  for (const LinkMeasurement& link : imported.links()) check_link(link);
  require(keep_good || imported.damage().empty(), "damage was kept");
  summarise(imported.links());
}

void import_or_refuse(LogFormat format, const LogPlace& log, bool keep_good) {
  try {
    import_all(format, log, keep_good);
  } catch (const Error& error) {
    const std::string message = error.what();
    require(error.code() == ErrorCode::invalid_input, message);
    require(message.find("log") != std::string::npos || message.find("--set") != std::string::npos, message);
  }
}

}  // namespace
}  // namespace foretoken::calibrate

// libFuzzer's names.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {
std::string format_name;  // NOLINT: set once, before the first input
}

int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  const char* name = std::getenv("FORETOKEN_FUZZ_FORMAT");  // NOLINT(concurrency-mt-unsafe): nothing else runs yet
  foretoken::calibrate::require(name != nullptr, "FORETOKEN_FUZZ_FORMAT=FORMAT says which importer");
  format_name = name;
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace foretoken::calibrate;
  const std::string text(reinterpret_cast<const char*>(data), size);  // NOLINT(*-reinterpret-cast): bytes as text
  const LogPlace log{text, "log"};
  const LogFormat format = log_format(log, format_name);
  import_or_refuse(format, log, false);
  import_or_refuse(format, log, true);
  try {
    recognise_log(log);
  } catch (const foretoken::Error&) {  // no log at all
  }
  return 0;
}
