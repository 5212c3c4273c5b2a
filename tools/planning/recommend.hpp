// Which deployment serves a model best on so many GPUs: a search that leaves out only what cannot be better.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/planning/deployments.hpp"
#include "tools/planning/estimate.hpp"

namespace foretoken::planning {

/// What a deployment has to keep. TPOT is the mean.
struct Objective {
  std::optional<Seconds> tpot;  // at most
  std::optional<double> rate;   // tokens per second of all GPUs, at least
};

enum class Fate : std::uint8_t {
  no_memory,      // does not fit
  not_simulated,  // cannot be: `reason` says why
  bound,          // cannot keep the objective, or cannot be better than another: by its bound
  left,           // the search ended before it
  simulated,
};

struct Row {
  Candidate candidate;
  Fate fate = Fate::left;
  std::string reason;     // of not_simulated
  PointMemory memory;     // 0 where nobody asked
  double bound_ms = 0;    // TPOT; 0 where nobody asked
  PointFigures figures;   // of simulated
  bool keeps = false;     // the objective
  bool on_front = false;  // nobody that keeps it has as much TPS per GPU and TPS per user, and more of one
};

struct Recommendation {
  std::vector<Row> rows;               // by deployment, then by batch
  std::vector<std::size_t> front;      // rows, most TPS per GPU first
  std::optional<std::size_t> best;     // most TPS per GPU among those that keep the objective
  std::optional<std::size_t> nearest;  // where there is none: least memory, else lowest TPOT, else most TPS
  std::size_t simulated = 0;
  std::size_t left = 0;  // neither simulated nor excluded: `simulations_max` was reached
};

struct SearchOptions {
  SearchSpace space;
  Objective objective;
  std::size_t simulations_max = 200;
  bool prune = true;                                                            // false: simulates all that fits
  std::function<void(std::size_t simulated, std::size_t candidates)> progress;  // may be empty
};

/// Deterministic, on all cores. What is left out:
///
///   memory   grows with the batch: the largest that fits is looked for by halves
///   bound    a candidate takes at least tpot_bound(). It is out if that breaks the objective, or if one that was
///            simulated, keeps the objective, and has at least its batch takes no longer than that: with as many GPUs
///            it then has no more TPS per GPU and none per user
///
/// Neither loses a row of the front that simulating everything would find.
Recommendation recommend(const EstimateBasis& basis, std::int64_t gpus, std::int64_t gpus_per_node,
                         const SearchOptions& options);

/// Rows whose candidates differ from that of `row` in one choice, or in the batch to the next.
std::vector<std::size_t> neighbours_of(const Recommendation& recommendation, std::size_t row);

}  // namespace foretoken::planning
