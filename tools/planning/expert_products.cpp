#include "tools/planning/expert_products.hpp"

#include <algorithm>
#include <cstdint>
#include <variant>
#include <vector>

#include "plan/program/resolve.hpp"

namespace foretoken::planning {
namespace {

void add(ExpertProductTimes& times, const sim::ComputeCost& cost, DType dtype, const plan::GroupedGemmOp& product,
         std::vector<std::int64_t> rows) {
  std::int64_t all = 0;
  for (const std::int64_t one : rows) {
    all += one;
    if (one > 0) times.each += cost.gemm(dtype, one, product.n, product.k).time;
  }
  if (all == 0) return;
  std::fill(rows.begin(), rows.end(), *std::max_element(rows.begin(), rows.end()));
  times.batch += cost.grouped_gemm(dtype, rows, product.n, product.k).time;
  for (const std::int64_t cols : {product.k, product.n})
    times.batch += cost.memory_bound(Bytes(2 * all * cols * bytes_per_element(dtype))).time;
}

}  // namespace

ExpertProductTimes expert_product_times(const plan::Plan& plan, const sim::ComputeCost& cost) {
  plan::RowCounter counter(plan.placement, plan.routing, plan.scenario.model.experts);
  ExpertProductTimes times;
  for (const plan::Role& role : plan.program.roles)
    for (const plan::Op& op : role.ops) {
      const auto* product = std::get_if<plan::GroupedGemmOp>(&op.detail);
      if (product == nullptr || product->rows.kind != plan::Extent::Kind::routed) continue;
      for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
        add(times, cost, op.dtype, *product, counter.local_rows(role.ranks.front(), product->rows, step));
    }
  return times;
}

}  // namespace foretoken::planning
