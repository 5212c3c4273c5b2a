// Which way to make the products of experts on GPUs is the faster one, by the calibration.
#pragma once

#include "core/units.hpp"
#include "plan/plan.hpp"
#include "runtime/cuda/expert_products.hpp"
#include "sim/cost/compute_cost.hpp"

namespace foretoken::planning {

/// Of all routed steps and of one rank of each role, made in either way.
///
///   each   sum over experts with rows of gemm(rows)
///   batch  one kernel with all experts' weights and for each as many rows as the largest has, and before and behind
///          it a copy of the rows into slots and out of them
///
/// Both are made of the calibration's GEMMs and element-wise kernels, whose floors are in them: many experts with few
/// rows are a batch, few with many are not, and the calibration says where the one ends and the other begins.
/// Limits: kernels of a graph follow one another without gaps, and cuBLASLt's batch is as good as a product of the
/// same weights side by side.
struct ExpertProductTimes {
  Seconds each{};
  Seconds batch{};
  [[nodiscard]] runtime::cuda::ExpertProducts faster() const {
    return batch < each ? runtime::cuda::ExpertProducts::batch : runtime::cuda::ExpertProducts::each;
  }
};

/// @throws Error{invalid_input} if the plan's routing is not known, or the device has no peak for its element type
ExpertProductTimes expert_product_times(const plan::Plan& plan, const sim::ComputeCost& cost);

}  // namespace foretoken::planning
