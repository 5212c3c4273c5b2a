// The ways to spread a model over so many GPUs that a recommendation looks at.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "plan/scenario/scenario.hpp"

namespace foretoken::planning {

/// A deployment with its batch. Names are those of a scenario's fields.
struct Candidate {
  std::int64_t tp = 1;
  std::int64_t dp = 1;
  std::int64_t stages = 1;
  std::int64_t ep = 1;
  std::int64_t micro_batches = 1;
  std::int64_t chunks = 1;
  std::string placement = "colocated";
  std::string exchange = "all_reduce";
  std::string overlap = "none";
  std::string dispatch = "-";  // low_latency or hierarchical; "-" where no tokens are dispatched
  std::int64_t batch = 1;      // sequences per GPU

  [[nodiscard]] std::int64_t gpus() const { return tp * dp * stages; }
  [[nodiscard]] std::int64_t sequences() const { return batch * gpus(); }
  /// "TP 1 x DP 32, EP 32 round_robin, low_latency, two_batch of 2, batch 16"
  [[nodiscard]] std::string label() const;
  /// The choices by name, in one order for all.
  [[nodiscard]] std::array<std::pair<std::string_view, std::string>, 9> choices() const;
  /// The scenario's members `deployment` and `workload.sequences`.
  [[nodiscard]] nlohmann::json deployment_json() const;
  bool operator==(const Candidate&) const = default;
};

/// What to choose from.
struct SearchSpace {
  std::vector<std::int64_t> batches{1, 2, 4, 8, 16, 32, 64, 128, 256, 512};  // per GPU, ascending
  std::vector<std::int64_t> stages{1, 2, 4, 8};
  bool overlaps = true;    // also two_batch and micro_stages
  bool dispatches = true;  // also hierarchical
};

/// Every deployment on `gpus` GPUs in nodes of `gpus_per_node`, batch 1, in a fixed order:
///
///   TP        powers of two within a node that divide the heads
///   PP        space.stages that divide the GPUs, at most one stage per layer
///   experts   all_reduce: EP = TP, colocated or sharded; dispatch: EP = TP x DP and its halves, colocated where EP
///             divides the experts and round_robin elsewhere
///   batches   1, 2 (two_batch), with stages as many as there are, or twice as many
///
/// Those that a scenario could not describe are left out; memory is not looked at.
std::vector<Candidate> deployments(const plan::ModelSpec& model, std::int64_t gpus, std::int64_t gpus_per_node,
                                   const SearchSpace& space);

}  // namespace foretoken::planning
