// Amounts of terms counted by hand, distances between uses, and their costs.
#include "sim/cost/host_cost.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "sim/cost/host_amounts.hpp"

namespace foretoken::sim {
namespace {

using plan::Op;
using plan::OpKind;
using plan::Tensor;
using plan::TensorKind;

Op op_of(OpKind kind, plan::OpDetail detail, std::vector<TensorId> inputs = {}, std::vector<TensorId> outputs = {}) {
  Op op;
  op.kind = kind;
  op.name = "op";
  op.dtype = DType::fp32;
  op.detail = detail;
  op.inputs = std::move(inputs);
  op.outputs = std::move(outputs);
  return op;
}

Tensor tensor_of(TensorKind kind, std::int64_t rows, std::int64_t cols) {
  Tensor tensor;
  tensor.kind = kind;
  tensor.dtype = DType::fp32;
  tensor.rows = plan::Extent::fixed(rows);
  tensor.cols = cols;
  return tensor;
}

HostTerms amounts(const Op& op, std::vector<std::int64_t> rows = {}, double beyond_cache_ns = 0) {
  return host_amounts(plan::Role{}, op, rows, Seconds(beyond_cache_ns * 1e-9));
}

// 7 rows: a tile of four, one of two and one of one, over weights of 10 x 100.
TEST(HostAmounts, AProductGoesThroughItsRowsInTiles) {
  const HostTerms terms = amounts(op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(7), 10, 100}), {}, 0.5);
  EXPECT_EQ(terms[HostTerm::product_call], 1);
  EXPECT_EQ(terms[HostTerm::product_weights], 1000);
  EXPECT_EQ(terms[HostTerm::product_memory], 1000 * 4 * 0.5);
  EXPECT_EQ(terms[HostTerm::product_rows4], 4 * 1000);
  EXPECT_EQ(terms[HostTerm::product_rows2], 1000);
  EXPECT_EQ(terms[HostTerm::product_rows1], 1000);
  EXPECT_EQ(terms[HostTerm::product_edges], 7 * 110);
  EXPECT_EQ(terms[HostTerm::vector_call], 0);
}

// Experts with 0, 1 and 4 rows: the first does nothing, the second is a vector's product.
TEST(HostAmounts, ExpertsAreProductsOfTheirOwn) {
  plan::GroupedGemmOp shape;
  shape.rows = plan::Extent::routed(0, 0, -1);
  shape.experts = 3;
  shape.n = 10;
  shape.k = 100;
  const HostTerms terms = amounts(op_of(OpKind::grouped_gemm, shape), {0, 1, 4});
  EXPECT_EQ(terms[HostTerm::vector_call], 1);
  EXPECT_EQ(terms[HostTerm::vector_weights], 1000);
  EXPECT_EQ(terms[HostTerm::product_call], 1);
  EXPECT_EQ(terms[HostTerm::product_rows4], 4000);
  EXPECT_EQ(terms[HostTerm::product_edges], 4 * 110);
}

TEST(HostAmounts, AttentionOfOneHeadPerKvHeadOrSeveral) {
  plan::AttentionOp shape;
  shape.sequences = 3;
  shape.context = 5;
  shape.heads = shape.kv_heads = 2;
  shape.head_dim = 8;
  HostTerms terms = amounts(op_of(OpKind::attention, shape));
  EXPECT_EQ(terms[HostTerm::attention_items], 6);
  EXPECT_EQ(terms[HostTerm::attention_kv], 6 * 5 * 16);
  EXPECT_EQ(terms[HostTerm::attention_scores], 30);
  EXPECT_EQ(terms[HostTerm::group_items], 0);
  shape.heads = 4;
  terms = amounts(op_of(OpKind::attention, shape));
  EXPECT_EQ(terms[HostTerm::attention_items], 0);
  EXPECT_EQ(terms[HostTerm::group_items], 6);
  EXPECT_EQ(terms[HostTerm::group_products], 2 * 3 * 4 * 5 * 8);
}

// 3 rows of 8 into a buffer of 96 bytes that nobody has touched since the step before, and 4 KiB besides.
TEST(HostAmounts, WhatAnOpFindsColdIsItsOutputAndItsOwnNeeds) {
  const HostTerms terms = amounts(op_of(OpKind::add, plan::RowwiseOp{plan::Extent::fixed(3), 8}), {}, 0.5);
  EXPECT_EQ(terms[HostTerm::add_elements], 24);
  EXPECT_EQ(terms[HostTerm::add_memory], 96 * 0.5);
  EXPECT_EQ(terms[HostTerm::add_cold], 4096 * 0.5);
}

TEST(HostAmounts, RowsWithoutWorkCostNothingButTheCall) {
  const HostTerms terms =
      amounts(op_of(OpKind::activation, plan::RowwiseOp{plan::Extent::routed(0, 0, -1), 100, false, true}), {0, 0});
  EXPECT_EQ(terms[HostTerm::activation_call], 1);
  EXPECT_EQ(terms[HostTerm::activation_elements], 0);
  EXPECT_EQ(terms[HostTerm::activation_gates], 0);
}

// Two products with weights of 400 and 800 bytes in turn, activations of 40 bytes: from a to b to c to a. Between two
// uses of the first weight the rank touches both weights and all three activations, and the same for the second.
TEST(ReuseDistances, AreWhatIsTouchedBetweenTwoUses) {
  plan::Role role;
  role.tensors = {tensor_of(TensorKind::activation, 1, 10), tensor_of(TensorKind::activation, 1, 10),
                  tensor_of(TensorKind::activation, 1, 10), tensor_of(TensorKind::weight, 10, 10),
                  tensor_of(TensorKind::weight, 10, 20)};
  role.ops = {
      op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(1), 10, 10}, {TensorId(0), TensorId(3)}, {TensorId(1)}),
      op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(1), 10, 20}, {TensorId(1), TensorId(4)}, {TensorId(2)}),
      op_of(OpKind::add, plan::RowwiseOp{plan::Extent::fixed(1), 10}, {TensorId(2), TensorId(2)}, {TensorId(0)})};
  const std::vector<Bytes> distances = reuse_distances(role, 1);
  // The first activation, touched together with the first weight, counts for it only at its next use.
  EXPECT_EQ(distances[0], Bytes(400 + 800 + 3 * 40));
  EXPECT_EQ(distances[1], Bytes(400 + 800 + 3 * 40));
  EXPECT_EQ(distances[2], Bytes(400 + 800 + 3 * 40)) << "no operand of its own: all that a step touches";
}

// The same weight twice in a row is still near: itself and the activations between.
TEST(ReuseDistances, AWeightUsedTwiceIsNear) {
  plan::Role role;
  role.tensors = {tensor_of(TensorKind::activation, 1, 10), tensor_of(TensorKind::activation, 1, 10),
                  tensor_of(TensorKind::weight, 10, 10)};
  const Op product =
      op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(1), 10, 10}, {TensorId(0), TensorId(2)}, {TensorId(1)});
  role.ops = {product, product};
  EXPECT_EQ(reuse_distances(role, 1)[1], Bytes(400));
}

HostCalibration invented() {
  HostCalibration calibration;
  calibration.cores = 2;
  // 0.1 ns per byte up to 1 MiB, 0.3 from 4 MiB on: 0.2 beyond the nearest cache.
  for (auto& cache : calibration.cache) cache = {{Bytes(1 << 20), Seconds(1e-10)}, {Bytes(4 << 20), Seconds(3e-10)}};
  calibration.unit_costs[0][HostTerm::product_weights] = 1e-9;
  calibration.unit_costs[0][HostTerm::product_memory] = 1e-9;  // one ns of streaming takes one ns
  calibration.unit_costs[1] = calibration.unit_costs[0];
  calibration.unit_costs[1][HostTerm::product_weights] = 2e-9;
  auto& products = calibration.families[static_cast<std::size_t>(HostFamily::product)];
  products.shortest = Seconds(1e-6);
  products.longest = Seconds(3e-6);
  calibration.communication.push_back({"threads", "invented", {}, {true, false}, Seconds(0), {}});
  return calibration;
}

// 1,000 weights of 4 bytes: 1 us packed, and where nothing of them is cached 4,000 x 0.2 ns = 0.8 us more; half way
// between the footprints (in the logarithm) half of that. Two ranks on two cores are no nearer alone, but four take
// turns: twice the footprint.
TEST(HostCost, WeightsCostMoreTheFartherTheyAre) {
  const HostCalibration calibration = invented();
  const Op product = op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(4), 10, 100});
  const auto alone = [&](std::int64_t ranks, Bytes distance) {
    return HostCost(calibration, "", ranks).compute({}, product, {}, distance).alone.value() * 1e6;
  };
  EXPECT_NEAR(alone(1, Bytes(1000)), 1.0, 1e-9);
  EXPECT_NEAR(alone(1, Bytes(2 << 20)), 1.4, 1e-9);
  EXPECT_NEAR(alone(2, Bytes(1 << 20)), 1.0, 1e-9);
  EXPECT_NEAR(alone(4, Bytes(1 << 20)), 1.4, 1e-9);
  EXPECT_NEAR(alone(1, Bytes(1 << 30)), 1.8, 1e-9);
  EXPECT_NEAR(HostCost(calibration, "", 1).compute({}, product, {}, Bytes(1000)).crowded.value() * 1e6, 2.0, 1e-9);
}

TEST(HostCost, SaysWhatIsOutsideTheMeasuredRange) {
  const HostCalibration calibration = invented();
  const HostCost cost(calibration, "threads", 1);
  const auto provenance = [&](std::int64_t n) {
    return cost.compute({}, op_of(OpKind::gemm, plan::GemmOp{plan::Extent::fixed(4), n, 100}), {}, Bytes(0)).provenance;
  };
  EXPECT_EQ(provenance(10), Provenance::interpolated);   // 1 us
  EXPECT_EQ(provenance(9), Provenance::extrapolated);    // 0.9 us
  EXPECT_EQ(provenance(100), Provenance::extrapolated);  // 10 us
  EXPECT_THROW(HostCost(calibration, "mpi", 1), Error);
}

}  // namespace
}  // namespace foretoken::sim
