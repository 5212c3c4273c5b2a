#include "calibrate/measure/device_journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "core/json_reader.hpp"

namespace foretoken::calibrate {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kKind = "gpu-measurement-journal";
constexpr double kSecondsMax = 1e9;
constexpr std::size_t kTimesMax = 1'000'000;
constexpr std::int64_t kTimeMax = std::int64_t{1} << 60;
constexpr const char* kHowToGoOn = "finish it there, name another --out, or remove the file to begin anew";

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json header_of(const DeviceMeasurementIdentity& identity) {
  return {{"kind", kKind},           {"schema_version", 1},   {"foretoken", identity.version},
          {"hosts", identity.hosts}, {"gpus", identity.gpus}, {"driver", identity.driver},
          {"blas", identity.blas},   {"nccl", identity.nccl}, {"seed", identity.seed}};
}

Error no_journal(const std::filesystem::path& file) {
  return input_error(file.string(), "", "is no journal of a measurement of GPUs",
                     "name another --out, or remove the file");
}

void require_same(const std::filesystem::path& file, const Json& there, const Json& here) {
  for (const auto& [key, value] : here.items())
    if (const Json other = there.value(key, Json()); other != value)
      throw input_error(
          file.string(), "/" + key,
          fmt::format("an unfinished measurement with {}, and this would be one with {}", dumped(other), dumped(value)),
          kHowToGoOn);
}

}  // namespace

Seconds ProbeTimes::median() const {
  FORETOKEN_CHECK(!picoseconds.empty(), "a median of nothing");
  std::vector<std::int64_t> sorted = picoseconds;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>((sorted.size() - 1) / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return Seconds(static_cast<double>(*middle) / kPicosecondsPerSecond);
}

std::string line_of(const ProbeTimes& times) {
  const runtime::cuda::GpuConditions& c = times.conditions;
  Json json{{"part", times.probe}, {"seconds", times.took.value()}, {"repetitions", times.repetitions}};
  if (!times.left_out.empty()) json["left_out"] = times.left_out;
  json["picoseconds"] = times.picoseconds;
  json["conditions"] = Json{{"samples", c.samples},
                            {"sm_clock_mhz_min", c.sm_clock_mhz_min},
                            {"sm_clock_mhz_max", c.sm_clock_mhz_max},
                            {"power_watts_mean", c.power_watts_mean},
                            {"temperature_celsius_max", c.temperature_celsius_max},
                            {"throttled", c.throttled}};
  return dumped(json);
}

ProbeTimes probe_times_of(std::string_view line, const std::string& place) {
  const JsonDocument document = JsonDocument::from_text(line, place);
  JsonObject object(document.root());
  ProbeTimes times;
  times.probe = object.require("part").as_string();
  times.took = Seconds(object.require("seconds").as_number(0, kSecondsMax));
  times.repetitions = object.require("repetitions").as_integer(0, kTimeMax);
  if (const auto why = object.optional("left_out")) times.left_out = why->as_string();
  for (const JsonReader& time : object.require("picoseconds").as_array(0, kTimesMax))
    times.picoseconds.push_back(time.as_integer(0, kTimeMax));
  JsonObject conditions(object.require("conditions"));
  runtime::cuda::GpuConditions& c = times.conditions;
  c.samples = conditions.require("samples").as_integer(0, kTimeMax);
  c.sm_clock_mhz_min = conditions.require("sm_clock_mhz_min").as_integer(0, kTimeMax);
  c.sm_clock_mhz_max = conditions.require("sm_clock_mhz_max").as_integer(0, kTimeMax);
  c.power_watts_mean = conditions.require("power_watts_mean").as_number(0, 1e6);
  c.temperature_celsius_max = conditions.require("temperature_celsius_max").as_integer(0, 1000);
  for (const JsonReader& reason : conditions.require("throttled").as_array(0, 64))
    c.throttled.push_back(reason.as_string());
  conditions.finish();
  object.finish();
  if (times.picoseconds.empty() && times.left_out.empty())
    throw input_error(place, "/picoseconds", "there are no times, and no reason for it", "take the line away");
  return times;
}

DeviceJournal::DeviceJournal(const std::filesystem::path& file, const DeviceMeasurementIdentity& identity,
                             const std::string& date)
    : file_(file), date_(date) {
  Json header = header_of(identity);
  const std::vector<std::string>& lines = file_.lines();
  if (lines.empty()) {
    // Nothing, or what a kill left of our own first line.
    const std::string ours = dumped({{"kind", kKind}});
    const std::string begin = ours.substr(0, ours.size() - 1);
    if (!begin.starts_with(file_.torn()) && !file_.torn().starts_with(begin)) throw no_journal(file);
    header["date"] = date_;
    file_.append(dumped(header));
    return;
  }
  const Json there = Json::parse(lines.front(), nullptr, false);
  if (!there.is_object() || there.value("kind", Json()) != kKind || !there.value("date", Json()).is_string())
    throw no_journal(file);
  date_ = there.at("date").get<std::string>();
  require_same(file, there, header);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::string place = fmt::format("{}:{}", file.string(), i + 1);
    try {
      ProbeTimes times = probe_times_of(lines[i], place);
      known_.insert_or_assign(times.probe, std::move(times));
    } catch (const Error& error) {
      throw input_error(place, "", fmt::format("is damaged: {}", error.what()),
                        "take the line away, and its probe is measured again");
    }
  }
}

}  // namespace foretoken::calibrate
