#include "tools/planning/deployments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace foretoken::planning {
namespace {

bool tp_fits(const plan::ModelSpec& model, std::int64_t tp) {
  if (model.heads % tp != 0 || (model.kv_heads % tp != 0 && tp % model.kv_heads != 0)) return false;
  if (model.dense_layers > 0 && model.dense_hidden % tp != 0) return false;
  return model.shared_experts == 0 || model.expert_hidden % tp == 0;
}

/// How the experts of a stage with this attention may lie.
std::vector<Candidate> with_experts(const Candidate& attention, const plan::ModelSpec& model) {
  std::vector<Candidate> all;
  Candidate replicated = attention;
  replicated.ep = attention.tp;
  if (model.experts % replicated.ep == 0) all.push_back(replicated);
  replicated.placement = "sharded";
  if (attention.tp > 1 && model.expert_hidden % attention.tp == 0) all.push_back(replicated);
  const std::int64_t ranks = attention.tp * attention.dp;
  for (std::int64_t ep = ranks; ep > 1 && ep >= attention.tp; ep /= 2) {
    if (ranks % ep != 0 || ep % attention.tp != 0) break;
    Candidate dispatched = attention;
    dispatched.ep = ep;
    dispatched.exchange = "dispatch";
    dispatched.dispatch = "low_latency";
    dispatched.placement = model.experts % ep == 0 ? "colocated" : "round_robin";
    all.push_back(dispatched);
    if (ep % 2 != 0) break;
  }
  return all;
}

/// How micro-batches may hide communication.
std::vector<Candidate> with_batches(const Candidate& experts, std::int64_t gpus_per_node, const SearchSpace& space) {
  std::vector<Candidate> all;
  const auto add = [&](std::int64_t micro_batches, const char* overlap, std::int64_t chunks) {
    Candidate one = experts;
    one.micro_batches = micro_batches;
    one.overlap = overlap;
    one.chunks = chunks;
    all.push_back(one);
  };
  add(experts.stages, "none", 1);
  if (experts.stages > 1) add(2 * experts.stages, "none", 1);
  if (!space.overlaps) return all;
  add(std::max<std::int64_t>(2, experts.stages), "two_batch", 1);
  if (experts.exchange == "dispatch" && experts.ep > gpus_per_node && experts.ep % gpus_per_node == 0)
    add(experts.stages, "micro_stages", experts.ep / gpus_per_node);
  return all;
}

}  // namespace

std::string Candidate::label() const {
  std::string text = fmt::format("TP {} x DP {}", tp, dp);
  if (stages > 1) text += fmt::format(" x PP {}", stages);
  text += fmt::format(", EP {} {}", ep, placement);
  if (exchange == "dispatch") text += ", " + dispatch;
  if (micro_batches > 1 || overlap != "none") text += fmt::format(", {} in {}", overlap, micro_batches);
  return text + fmt::format(", batch {}", batch);
}

std::array<std::pair<std::string_view, std::string>, 9> Candidate::choices() const {
  return {{{"tp", std::to_string(tp)},
           {"stages", std::to_string(stages)},
           {"ep", std::to_string(ep)},
           {"exchange", exchange},
           {"placement", placement},
           {"micro_batches", std::to_string(micro_batches)},
           {"overlap", overlap},
           {"dispatch", dispatch},
           {"batch", std::to_string(batch)}}};
}

nlohmann::json Candidate::deployment_json() const {
  nlohmann::json json{{"attention", {{"tp", tp}, {"dp", dp}}},
                      {"micro_batches", micro_batches},
                      {"experts", {{"placement", placement}, {"exchange", exchange}, {"ep", ep}}},
                      {"overlap", overlap}};
  if (stages > 1) json["pipeline"] = {{"stages", stages}};
  if (overlap == "micro_stages") json["chunks"] = chunks;
  if (exchange == "dispatch") json["collectives"] = {{"exchange", dispatch}};
  return json;
}

std::vector<Candidate> deployments(const plan::ModelSpec& model, std::int64_t gpus, std::int64_t gpus_per_node,
                                   const SearchSpace& space) {
  std::vector<Candidate> all;
  for (std::int64_t tp = 1; tp <= std::min(gpus, gpus_per_node); tp *= 2) {
    if (!tp_fits(model, tp) || gpus % tp != 0) continue;
    for (const std::int64_t stages : space.stages) {
      if (stages > model.layers || gpus / tp % stages != 0) continue;
      Candidate attention;
      attention.tp = tp;
      attention.stages = stages;
      attention.dp = gpus / tp / stages;
      for (const Candidate& experts : with_experts(attention, model))
        for (const Candidate& one : with_batches(experts, gpus_per_node, space)) {
          all.push_back(one);
          if (!space.dispatches || one.exchange != "dispatch" || one.ep <= gpus_per_node) continue;
          all.push_back(one);
          all.back().dispatch = "hierarchical";
        }
    }
  }
  return all;
}

}  // namespace foretoken::planning
