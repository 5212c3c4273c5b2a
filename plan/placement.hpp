// Where things are: sequences on replicas and ranks, experts on ranks, micro-batches and chunks within them.
//
// Pure arithmetic over a DeploymentSpec; nothing is stored per token. All splits are contiguous with the first parts
// one larger when they do not divide evenly.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// [begin, end)
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  [[nodiscard]] std::int64_t size() const { return end - begin; }
  auto operator<=>(const Range&) const = default;
};

/// Part `index` of `whole` cut into `parts` contiguous parts, the first (whole mod parts) of them one larger.
Range split(Range whole, std::int64_t parts, std::int64_t index);

class Placement {
 public:
  /// @throws Error{internal} if the three contradict one another; parse_scenario() lets no such scenario through
  Placement(const ModelSpec& model, const WorkloadSpec& workload, const DeploymentSpec& deployment);

  [[nodiscard]] std::int64_t stage_of(RankId rank) const;
  [[nodiscard]] std::int64_t replica_of(RankId rank) const;  // attention data-parallel index
  [[nodiscard]] std::int64_t tp_index_of(RankId rank) const;
  [[nodiscard]] std::int64_t ep_index_of(RankId rank) const;  // index within its expert group
  [[nodiscard]] Range layers_of_stage(std::int64_t stage) const;
  [[nodiscard]] std::int64_t stage_of_layer(std::int64_t layer) const;

  /// Global indices of the sequences that a replica decodes in a micro-batch.
  [[nodiscard]] Range sequences(std::int64_t replica, std::int64_t micro_batch) const;
  /// Those that one rank of the replica keeps where tokens are sliced over the TP group (exchange = dispatch).
  [[nodiscard]] Range slice(std::int64_t replica, std::int64_t micro_batch, std::int64_t tp_index) const;

  /// Experts of a layer that a rank with this expert-group index holds, ascending. Sharded experts: all of them. None
  /// in the model's dense layers.
  [[nodiscard]] std::span<const std::int32_t> experts_on(std::int64_t layer, std::int64_t ep_index) const;
  /// Expert-group index of the rank that holds an expert. Sharded: 0, every rank holds a part.
  ///
  ///   colocated    the part of split([0, experts), ep) that the expert is in
  ///   round_robin  (layer within its stage x experts + expert) mod ep
  [[nodiscard]] std::int32_t host_of(std::int64_t layer, std::int64_t expert) const;
  /// Expert-group indices whose tokens form chunk `chunk`.
  [[nodiscard]] Range chunk_sources(std::int64_t chunk) const;

  [[nodiscard]] const DeploymentSpec& deployment() const { return deployment_; }

 private:
  ModelSpec model_;
  WorkloadSpec workload_;
  DeploymentSpec deployment_;
  // One list serves all layers: experts in ascending order of (group that shares a host, expert); a host's are
  // contiguous.
  std::vector<std::int32_t> experts_;
};

}  // namespace foretoken::plan
