#include "core/calibration_interference.hpp"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace foretoken {
namespace {

using Member = std::int64_t InterferenceCalibration::*;

constexpr std::array<std::pair<const char*, Member>, 8> kSms{
    {{"collective_in_node", &InterferenceCalibration::collective_in_node},
     {"collective_across_nodes", &InterferenceCalibration::collective_across_nodes},
     {"nvls", &InterferenceCalibration::nvls},
     {"direct", &InterferenceCalibration::direct},
     {"message_in_node", &InterferenceCalibration::message_in_node},
     {"message_across_nodes", &InterferenceCalibration::message_across_nodes},
     {"dispatch", &InterferenceCalibration::dispatch},
     {"combine", &InterferenceCalibration::combine}}};

constexpr std::int64_t kSmsMax = 1024;
constexpr double kMemoryBytesMax = 16;

}  // namespace

InterferenceCalibration read_interference_calibration(const JsonReader& place) {
  JsonObject object(place);
  InterferenceCalibration interference;
  JsonObject sms(object.require("sms"));
  for (const auto& [key, member] : kSms) interference.*member = sms.require(key).as_integer(0, kSmsMax);
  sms.finish();
  JsonObject memory(object.require("memory_bytes"));
  interference.memory_bytes_sent = memory.require("sent").as_number(0, kMemoryBytesMax);
  interference.memory_bytes_received = memory.require("received").as_number(0, kMemoryBytesMax);
  memory.finish();
  interference.provenance = object.require("provenance").as_enum(kProvenanceNames);
  interference.source = object.require("source").as_string();
  object.finish();
  return interference;
}

nlohmann::json to_json(const InterferenceCalibration& interference) {
  nlohmann::json sms = nlohmann::json::object();
  for (const auto& [key, member] : kSms) sms[key] = interference.*member;
  return {
      {"sms", sms},
      {"memory_bytes", {{"sent", interference.memory_bytes_sent}, {"received", interference.memory_bytes_received}}},
      {"provenance", name_of(interference.provenance)},
      {"source", interference.source}};
}

}  // namespace foretoken
