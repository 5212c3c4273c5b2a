#include "core/calibration_host.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

namespace foretoken {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 2> kLoadNames{"alone", "crowded"};
constexpr std::size_t kPointsMax = 256;
constexpr std::size_t kCommunicatorsMax = 16;
constexpr std::int64_t kCoresMax = 4096;

bool is_communication(std::size_t family) { return family == static_cast<std::size_t>(HostFamily::communication); }

std::string nanoseconds(double seconds) { return fmt::format("{:.6g} ns", seconds * 1e9); }

double read_cost(const JsonReader& place) { return place.as_duration(Seconds(0), Seconds(1)).value(); }

// The terms of one family, by name, under each load.
void read_terms(JsonObject& object, std::size_t family, std::array<HostTerms, 2>& costs) {
  for (std::size_t load = 0; load < kLoadNames.size(); ++load) {
    JsonObject terms(object.require(kLoadNames[load]));
    for (std::size_t t = 0; t < kHostTerms.size(); ++t)
      if (static_cast<std::size_t>(kHostTerms[t].family) == family)
        costs[load][static_cast<HostTerm>(t)] = read_cost(terms.require(kHostTerms[t].name));
    terms.finish();
  }
}

bool has_cost(const HostTerms& costs, std::size_t family) {
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    if (static_cast<std::size_t>(kHostTerms[t].family) == family && costs[static_cast<HostTerm>(t)] > 0) return true;
  return false;
}

void write_terms(Json& json, std::size_t family, const std::array<HostTerms, 2>& costs) {
  for (std::size_t load = 0; load < kLoadNames.size(); ++load) {
    Json terms = Json::object();
    for (std::size_t t = 0; t < kHostTerms.size(); ++t)
      if (static_cast<std::size_t>(kHostTerms[t].family) == family)
        terms[std::string(kHostTerms[t].name)] = nanoseconds(costs[load][static_cast<HostTerm>(t)]);
    json[std::string(kLoadNames[load])] = std::move(terms);
  }
}

std::vector<HostCachePoint> read_cache(const JsonReader& place) {
  std::vector<HostCachePoint> points;
  for (const JsonReader& entry : place.as_array(1, kPointsMax)) {
    JsonObject object(entry);
    const JsonReader footprint = object.require("footprint");
    points.push_back(
        {footprint.as_bytes(Bytes(1), Bytes(std::int64_t{1} << 45)), Seconds(read_cost(object.require("per_byte")))});
    if (points.size() > 1 && !(points[points.size() - 2].footprint < points.back().footprint))
      footprint.fail(footprint.shown(), "footprints must increase");
    object.finish();
  }
  return points;
}

Json cache_json(const std::vector<HostCachePoint>& points) {
  Json json = Json::array();
  for (const HostCachePoint& point : points)
    json.push_back({{"footprint", fmt::format("{} B", point.footprint.value())},
                    {"per_byte", nanoseconds(point.per_byte.value())}});
  return json;
}

double streaming(const std::vector<HostCachePoint>& points, double bytes) {
  const auto above = std::find_if(points.begin(), points.end(), [&](const HostCachePoint& point) {
    return static_cast<double>(point.footprint.value()) >= bytes;
  });
  if (above == points.begin()) return above->per_byte.value();
  const auto below = above - 1;
  if (above == points.end()) return below->per_byte.value();
  const double from = std::log(static_cast<double>(below->footprint.value()));
  const double to = std::log(static_cast<double>(above->footprint.value()));
  const double share = (std::log(bytes) - from) / (to - from);
  return below->per_byte.value() + share * (above->per_byte.value() - below->per_byte.value());
}

HostNetworkWork read_work(const JsonReader& place) {
  JsonObject object(place);
  const HostNetworkWork work{Seconds(read_cost(object.require("message"))), Seconds(read_cost(object.require("byte")))};
  object.finish();
  return work;
}

Json work_json(const HostNetworkWork& work) {
  return {{"message", nanoseconds(work.message.value())}, {"byte", nanoseconds(work.byte.value())}};
}

}  // namespace

Seconds HostCalibration::streaming_beyond_cache(HostLoad load, Bytes footprint) const {
  const auto& points = cache[static_cast<std::size_t>(load)];
  if (points.empty()) return Seconds(0);
  const double nearest = points.front().per_byte.value();
  return Seconds(std::max(0.0, streaming(points, static_cast<double>(footprint.value())) - nearest));
}

const HostCommunication& HostCalibration::communicator(const std::string& name) const {
  std::vector<std::string> known;
  for (const HostCommunication& one : communication) {
    if (name.empty() || one.communicator == name) return one;
    known.push_back(one.communicator);
  }
  throw input_error(
      "", "", fmt::format("the calibration has no messages by \"{}\"", name),
      fmt::format("choose one of: {}; or calibrate again, under mpirun for \"mpi\"", fmt::join(known, ", ")));
}

HostCalibration read_host_calibration(const JsonReader& place) {
  JsonObject root(place);
  HostCalibration out;
  out.cores = root.require("cores").as_integer(1, kCoresMax);
  out.source = root.require("source").as_string();

  JsonObject cache(root.require("cache"));
  for (std::size_t load = 0; load < kLoadNames.size(); ++load)
    out.cache[load] = read_cache(cache.require(kLoadNames[load]));
  cache.finish();

  JsonObject families(root.require("families"));
  for (std::size_t f = 0; f < kHostFamilyNames.size(); ++f) {
    if (is_communication(f)) continue;
    JsonObject family(families.require(kHostFamilyNames[f]));
    read_terms(family, f, out.unit_costs);
    out.families[f].shortest = family.require("shortest").as_duration(Seconds(0), Seconds(1e6));
    out.families[f].longest = family.require("longest").as_duration(out.families[f].shortest, Seconds(1e6));
    out.families[f].held_out = read_held_out(family.require("held_out"));
    // What was measured took time.
    for (std::size_t load = 0; load < kLoadNames.size(); ++load)
      if (out.families[f].longest > Seconds(0) && !has_cost(out.unit_costs[load], f))
        families.require(kHostFamilyNames[f]).fail("every term costs 0", "measure again: foretoken calibrate host");
    family.finish();
  }
  families.finish();

  std::set<std::string> names;
  for (const JsonReader& entry : root.require("communication").as_array(1, kCommunicatorsMax)) {
    JsonObject object(entry);
    HostCommunication one;
    const JsonReader name = object.require("communicator");
    one.communicator = name.as_string();
    if (!names.insert(one.communicator).second) name.fail(name.shown() + " appears twice", "keep one of them");
    one.source = object.require("source").as_string();
    read_terms(object, static_cast<std::size_t>(HostFamily::communication), one.unit_costs);
    // Files of before this was written down have one measurement's costs under both loads.
    if (const auto known = object.optional("measured")) {
      JsonObject measured(*known);
      for (std::size_t load = 0; load < kLoadNames.size(); ++load)
        one.measured[load] = measured.require(kLoadNames[load]).as_bool();
      measured.finish();
    }
    one.wake = Seconds(read_cost(object.require("wake")));
    one.held_out = read_held_out(object.require("held_out"));
    object.finish();
    out.communication.push_back(std::move(one));
  }
  if (const auto network = root.optional("network")) {
    JsonObject object(*network);
    HostNetwork one;
    one.source = object.require("source").as_string();
    one.payload = object.require("payload").as_number(1e-3, 1);
    if (const auto old = object.optional("per_message"))
      old->fail("is a time, and is now the bytes of a message's headers (overhead)",
                "measure again: foretoken calibrate network");
    one.acknowledged = object.require("acknowledged").as_number(0, 0.999);
    one.latency = Seconds(read_cost(object.require("latency")));
    one.overhead = object.require("overhead").as_bytes(Bytes(0), Bytes(std::int64_t{1} << 20));
    one.send = read_work(object.require("send"));
    one.receive = read_work(object.require("receive"));
    object.finish();
    out.network = one;
  }
  root.finish();
  return out;
}

nlohmann::json to_json(const HostCalibration& calibration) {
  Json families = Json::object();
  for (std::size_t f = 0; f < kHostFamilyNames.size(); ++f) {
    if (is_communication(f)) continue;
    Json family{{"shortest", nanoseconds(calibration.families[f].shortest.value())},
                {"longest", nanoseconds(calibration.families[f].longest.value())},
                {"held_out", to_json(calibration.families[f].held_out)}};
    write_terms(family, f, calibration.unit_costs);
    families[std::string(kHostFamilyNames[f])] = std::move(family);
  }
  Json communication = Json::array();
  for (const HostCommunication& one : calibration.communication) {
    Json entry{{"communicator", one.communicator},
               {"source", one.source},
               {"measured", {{"alone", one.measured[0]}, {"crowded", one.measured[1]}}},
               {"wake", nanoseconds(one.wake.value())},
               {"held_out", to_json(one.held_out)}};
    write_terms(entry, static_cast<std::size_t>(HostFamily::communication), one.unit_costs);
    communication.push_back(std::move(entry));
  }
  Json json{{"cores", calibration.cores},
            {"source", calibration.source},
            {"cache", {{"alone", cache_json(calibration.cache[0])}, {"crowded", cache_json(calibration.cache[1])}}},
            {"families", std::move(families)},
            {"communication", std::move(communication)}};
  if (const auto& network = calibration.network)
    json["network"] = {{"source", network->source},
                       {"payload", std::stod(fmt::format("{:.6g}", network->payload))},
                       {"acknowledged", std::stod(fmt::format("{:.6g}", network->acknowledged))},
                       {"latency", nanoseconds(network->latency.value())},
                       {"overhead", fmt::format("{} B", network->overhead.value())},
                       {"send", work_json(network->send)},
                       {"receive", work_json(network->receive)}};
  return json;
}

}  // namespace foretoken
