#include "tools/planning/point.hpp"

#include <nlohmann/json.hpp>

namespace foretoken::planning {

using Json = nlohmann::ordered_json;

Json point_json(const Point& point) {
  Json json{{"status", point.status}};
  if (!point.ran()) {
    json["reason"] = point.reason;
    return json;
  }
  const PointFigures& figures = point.figures;
  const double h = figures.relative_error;
  json.update({{"gpus", figures.gpus},
               {"sequences", figures.sequences},
               {"tps", figures.tps},
               {"tps_per_gpu", figures.tps_per_gpu()},
               {"tps_per_user", figures.tps_per_user()},
               {"tpot_ms",
                {{"mean", figures.tpot_ms_mean},
                 {"p50", figures.tpot_ms_p50},
                 {"p95", figures.tpot_ms_p95},
                 {"p99", figures.tpot_ms_p99}}},
               {"relative_error", h},
               {"exposed_ms", figures.exposed_ms},
               {"hidden_ms", figures.hidden_ms},
               {"memory_bytes",
                {{"weights", figures.memory.weights},
                 {"kv_cache", figures.memory.kv_cache},
                 {"activations", figures.memory.activations},
                 {"device", figures.memory.device}}}});
  Json bounds = Json::array();
  for (const auto& [name, share] : figures.bounds) bounds.push_back({{"by", name}, {"share", share}});
  json["bounds"] = std::move(bounds);
  return json;
}

Point point_of(const nlohmann::json& json) {
  Point point;
  point.status = json.at("status").get<std::string>();
  if (!point.ran()) {
    point.reason = json.at("reason").get<std::string>();
    return point;
  }
  PointFigures& figures = point.figures;
  figures.gpus = json.at("gpus").get<std::int64_t>();
  const auto number = [](const nlohmann::json& object, const char* key) { return object.at(key).get<double>(); };
  figures.sequences = number(json, "sequences");
  figures.tps = number(json, "tps");
  const nlohmann::json& tpot = json.at("tpot_ms");
  figures.tpot_ms_mean = number(tpot, "mean");
  figures.tpot_ms_p50 = number(tpot, "p50");
  figures.tpot_ms_p95 = number(tpot, "p95");
  figures.tpot_ms_p99 = number(tpot, "p99");
  figures.relative_error = number(json, "relative_error");
  figures.exposed_ms = number(json, "exposed_ms");
  figures.hidden_ms = number(json, "hidden_ms");
  const nlohmann::json& memory = json.at("memory_bytes");
  figures.memory = {number(memory, "weights"), number(memory, "kv_cache"), number(memory, "activations"),
                    number(memory, "device")};
  for (const nlohmann::json& bound : json.at("bounds"))
    figures.bounds.emplace_back(bound.at("by").get<std::string>(), number(bound, "share"));
  return point;
}

}  // namespace foretoken::planning
