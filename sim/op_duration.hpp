// How long a compute op takes on one rank in one step: from the op's shape to the cost models in sim/cost.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "plan/program/program.hpp"
#include "plan/program/resolve.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

/// The extent that routing may decide; null for ops whose shape is always fixed.
const plan::Extent* extent_of(const plan::Op& op);

/// Softmax and top-k over a router's logits: read once, and a 4-byte index and a 4-byte weight written per choice.
Estimate choose_experts(const ComputeCost& cost, const plan::RouteOp& shape, DType dtype);

/// A compute op with its rows known.
///
///   gemm, grouped_gemm, attention     the fitted model of that kernel
///   route                             its GEMM, then choose_experts
///   norm, rope_kv, activation, add,   floor + traffic / bandwidth, traffic from plan::work_of
///   permute, unpermute
///   input, step_end                   nothing: marks in time, not kernels
///
/// The estimate's traffic is plan::work_of's.
///
/// @param role of the op: attention takes the dtype of its queries from the tensor that it reads
/// @param rows_per_expert  of a routed extent, per local expert; ignored where the extent is fixed
Estimate op_duration(const ComputeCost& cost, const plan::Role& role, const plan::Op& op,
                     std::span<const std::int64_t> rows_per_expert);

/// Durations of a whole program, each computed once: per (role, op) where the rows are fixed, per (op and rows per
/// expert) where routing decides them.
class OpDurations {
 public:
  /// All are kept by reference.
  OpDurations(const plan::Program& program, const ComputeCost& cost, plan::RowCounter& rows);

  Estimate of(RankId rank, OpId op, std::int64_t routed_step);

 private:
  const plan::Program& program_;
  const ComputeCost& cost_;
  plan::RowCounter& rows_;
  std::vector<std::vector<std::optional<Estimate>>> fixed_;  // [role][op]
  // By what decides the duration of a routed op beside its rows; ranks of many roles share an entry.
  struct RoutedShape {
    plan::OpKind kind;
    DType dtype;
    Packing packing;
    std::int64_t n;
    std::int64_t k;
    std::vector<std::int64_t> rows;
    auto operator<=>(const RoutedShape&) const = default;
  };
  std::map<RoutedShape, Estimate> routed_;
};

}  // namespace foretoken::sim
