#include "plan/placement.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

/// The part of [0, whole) cut into `parts` that holds `item`: the inverse of split().
std::int64_t part_of(std::int64_t item, std::int64_t whole, std::int64_t parts) {
  const std::int64_t size = whole / parts;
  const std::int64_t larger = whole % parts;  // the first parts, of size + 1
  const std::int64_t in_larger = larger * (size + 1);
  if (item < in_larger) return item / (size + 1);
  return larger + (item - in_larger) / size;
}

}  // namespace

Range split(Range whole, std::int64_t parts, std::int64_t index) {
  FORETOKEN_CHECK(parts >= 1 && index >= 0 && index < parts, "a part outside its whole was asked for");
  const std::int64_t size = whole.size() / parts;
  const std::int64_t larger = whole.size() % parts;
  const std::int64_t begin = whole.begin + index * size + std::min(index, larger);
  return Range{begin, begin + size + (index < larger ? 1 : 0)};
}

Placement::Placement(const ModelSpec& model, const WorkloadSpec& workload, const DeploymentSpec& deployment)
    : model_(model), workload_(workload), deployment_(deployment) {
  const DeploymentSpec& d = deployment_;
  FORETOKEN_CHECK(d.tp >= 1 && d.dp >= 1 && d.stages >= 1 && d.micro_batches >= 1 && d.chunks >= 1,
                  "a deployment has less than one of something");
  FORETOKEN_CHECK(d.stages <= model_.layers, "a stage has no layer");
  FORETOKEN_CHECK(d.ep >= 1 && d.ranks_per_stage() % d.ep == 0, "expert groups do not divide a stage");

  experts_.reserve(static_cast<std::size_t>(model_.experts));
  // Round robin puts experts that are equal modulo ep on one rank, whatever the layer; the others keep experts in
  // order.
  const std::int64_t step = d.placement == ExpertPlacement::round_robin ? d.ep : 1;
  for (std::int64_t first = 0; first < step && first < model_.experts; ++first)
    for (std::int64_t expert = first; expert < model_.experts; expert += step)
      experts_.push_back(static_cast<std::int32_t>(expert));
}

std::int64_t Placement::stage_of(RankId rank) const { return rank.value() / deployment_.ranks_per_stage(); }

std::int64_t Placement::replica_of(RankId rank) const { return rank.value() / deployment_.tp % deployment_.dp; }

std::int64_t Placement::tp_index_of(RankId rank) const { return rank.value() % deployment_.tp; }

// Ranks of a stage are contiguous and ep divides their number, so expert groups never straddle stages.
std::int64_t Placement::ep_index_of(RankId rank) const { return rank.value() % deployment_.ep; }

Range Placement::layers_of_stage(std::int64_t stage) const {
  return split(Range{0, model_.layers}, deployment_.stages, stage);
}

std::int64_t Placement::stage_of_layer(std::int64_t layer) const {
  FORETOKEN_CHECK(layer >= 0 && layer < model_.layers, "a layer outside the model was asked for");
  return part_of(layer, model_.layers, deployment_.stages);
}

Range Placement::sequences(std::int64_t replica, std::int64_t micro_batch) const {
  const Range of_replica = split(Range{0, workload_.sequences}, deployment_.dp, replica);
  return split(of_replica, deployment_.micro_batches, micro_batch);
}

Range Placement::slice(std::int64_t replica, std::int64_t micro_batch, std::int64_t tp_index) const {
  return split(sequences(replica, micro_batch), deployment_.tp, tp_index);
}

std::span<const std::int32_t> Placement::experts_on(std::int64_t layer, std::int64_t ep_index) const {
  FORETOKEN_CHECK(layer >= 0 && layer < model_.layers, "a layer outside the model was asked for");
  FORETOKEN_CHECK(ep_index >= 0 && ep_index < deployment_.ep, "a rank outside the expert group was asked for");
  if (model_.dense(layer)) return {};
  if (deployment_.placement == ExpertPlacement::sharded) return experts_;
  std::int64_t part = ep_index;
  if (deployment_.placement == ExpertPlacement::round_robin) {
    // Expert e sits at (start + e) mod ep, so this rank holds those with e mod ep = ep_index - start. Such classes,
    // in ascending order, have the sizes of split(): the first (experts mod ep) of them are one larger.
    part = (ep_index + deployment_.ep - host_of(layer, 0)) % deployment_.ep;
  }
  const Range range = split(Range{0, model_.experts}, deployment_.ep, part);
  return std::span(experts_).subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.size()));
}

std::int32_t Placement::host_of(std::int64_t layer, std::int64_t expert) const {
  FORETOKEN_CHECK(!model_.dense(layer) && layer < model_.layers, "a layer without experts was asked for");
  FORETOKEN_CHECK(expert >= 0 && expert < model_.experts, "an expert outside the model was asked for");
  switch (deployment_.placement) {
    case ExpertPlacement::sharded: return 0;
    case ExpertPlacement::colocated: return static_cast<std::int32_t>(part_of(expert, model_.experts, deployment_.ep));
    case ExpertPlacement::round_robin: {
      const std::int64_t in_stage = layer - layers_of_stage(stage_of_layer(layer)).begin;
      return static_cast<std::int32_t>((in_stage * model_.experts + expert) % deployment_.ep);
    }
  }
  return 0;
}

Range Placement::chunk_sources(std::int64_t chunk) const {
  return split(Range{0, deployment_.ep}, deployment_.chunks, chunk);
}

}  // namespace foretoken::plan
