// Results built by hand: one rank or a few, a steady step, every part of known length.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "tools/explain/stored_result.hpp"

namespace foretoken::test {

/// Parts of a step in picoseconds, in the order in which a rank goes through them:
///
///   gemm (layer 0)        compute
///   waiting, all_reduce   of layer 0, posted when the gemm ends
///   norm (layer 1)        compute
///   idle                  then step_end, which takes no time
struct StepShape {
  std::int64_t gemm = 40'000;
  std::int64_t waiting = 5'000;
  std::int64_t all_reduce = 25'000;
  std::int64_t norm = 20'000;
  std::int64_t idle = 10'000;

  [[nodiscard]] std::int64_t whole() const { return gemm + waiting + all_reduce + norm + idle; }
};

/// A trace of ranks without events: the ops gemm, all_reduce, norm, step_end, of one role; one warm-up step.
Trace empty_trace(std::int64_t ranks, std::int64_t steps);

/// Adds all steps of a rank: the warm-up step ends at `start`, and every counted step has the shape.
void add_rank(Trace& trace, std::int32_t rank, const StepShape& shape, std::int64_t start = 100'000);

/// The result of one rank, steady: TPOT and step are the shape's length.
explain::StoredResult steady(const StepShape& shape, std::int64_t steps = 2);

/// As --out stores it.
nlohmann::json stored_json(const explain::StoredResult& result);

}  // namespace foretoken::test
