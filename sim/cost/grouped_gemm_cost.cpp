#include "sim/cost/grouped_gemm_cost.hpp"

#include <algorithm>
#include <vector>

#include "core/error.hpp"

namespace foretoken::sim {

Estimate grouped_gemm(const GemmCost& gemm, std::span<const std::int64_t> rows_per_expert, std::int64_t n,
                      std::int64_t k, double weight_bytes) {
  std::vector<std::int64_t> rows;
  rows.reserve(rows_per_expert.size());
  for (const std::int64_t r : rows_per_expert) {
    FORETOKEN_CHECK(r >= 0, "an expert has no negative number of rows");
    if (r > 0) rows.push_back(r);
  }
  if (rows.empty() || n == 0 || k == 0) return {Seconds(0), Provenance::measured};
  // Equal row counts are asked once; sorting also makes the sum independent of the order of the experts.
  std::sort(rows.begin(), rows.end());
  const auto experts = static_cast<std::int64_t>(rows.size());
  FORETOKEN_CHECK(n <= INT64_MAX / experts, "the experts' weights side by side have a countable width");
  Estimate total{Seconds(0), experts == 1 ? Provenance::interpolated : Provenance::extrapolated};
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t next = i;
    while (next < rows.size() && rows[next] == rows[i]) ++next;
    const Estimate alike = gemm(rows[i], n * experts, k, weight_bytes);
    total.time += alike.time * (static_cast<double>(next - i) / static_cast<double>(experts));
    total.provenance = worst(total.provenance, alike.provenance);
    if (experts == 1) total.error_p90 = alike.error_p90;
    i = next;
  }
  return total;
}

}  // namespace foretoken::sim
