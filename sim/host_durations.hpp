// How long a compute op takes a rank's core: from the op, its rows and where its operands are, to
// sim/cost/host_cost.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/cost/host_cost.hpp"

namespace foretoken::sim {

/// Unlike on a GPU, `input` and `step_end` are work: rows are copied, and the largest of each is looked for.
class HostDurations {
 public:
  /// All are kept by reference.
  HostDurations(const plan::Plan& plan, const HostCost& cost, plan::RowCounter& rows);

  Estimate of(RankId rank, OpId op, std::int64_t routed_step);

 private:
  const plan::Program& program_;
  const HostCost& cost_;
  plan::RowCounter& rows_;
  std::vector<std::vector<Bytes>> reuse_distances_;          // [role][op]
  std::vector<std::vector<std::optional<Estimate>>> fixed_;  // [role][op] where routing decides nothing
};

/// Rows that a rank of the plan has for its experts in one layer and micro-batch when the tokens are spread evenly.
std::int64_t routed_rows_expected(const plan::Plan& plan);

}  // namespace foretoken::sim
