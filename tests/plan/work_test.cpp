// FLOPs and traffic of every kind of op, by hand, with factors small enough to see where each comes from.
#include "plan/program/work.hpp"

#include <gtest/gtest.h>

#include <string>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

Op op_of(OpKind kind, OpDetail detail, DType dtype = DType::fp16) {
  Op op;
  op.name = "op";
  op.kind = kind;
  op.dtype = dtype;
  op.detail = std::move(detail);
  return op;
}

void expect_work(const Op& op, double flops, std::int64_t bytes, std::int64_t rows = 0, std::int64_t active = 0) {
  const Work work = work_of(op, rows, active);
  EXPECT_EQ(work.flops.value(), flops) << name_of(op.kind);
  EXPECT_EQ(work.traffic.value(), bytes) << name_of(op.kind);
}

const Extent kThree = Extent::fixed(3);
const Extent kRouted = Extent::routed(0, 0, -1);

TEST(Work, Gemm) {
  // [3, 7] x [7, 5]: 3 x 5 sums of 7 products; both operands are read and the product is written, two bytes each.
  expect_work(op_of(OpKind::gemm, GemmOp{kThree, 5, 7}), 2.0 * 3 * 5 * 7, 2 * (3 * 7 + 7 * 5 + 3 * 5));
  expect_work(op_of(OpKind::gemm, GemmOp{kThree, 5, 7}, DType::fp8), 2.0 * 3 * 5 * 7, 3 * 7 + 7 * 5 + 3 * 5);
}

TEST(Work, GroupedGemm) {
  // 11 rows in all; of 4 experts only 2 have rows, and only their weights are read.
  const Op op = op_of(OpKind::grouped_gemm, GroupedGemmOp{kRouted, 4, 5, 7});
  expect_work(op, 2.0 * 11 * 5 * 7, 2 * (11 * 7 + 11 * 5 + 2 * 7 * 5), 11, 2);
  expect_work(op, 0, 0, 0, 0);
}

TEST(Work, Attention) {
  // 3 sequences over 10 tokens, 4 query heads of 8: 2 FLOPs per element for the scores and 2 for the sum. K and V of 2
  // KV heads are read once; q is read and the output written.
  expect_work(op_of(OpKind::attention, AttentionOp{3, 10, 4, 2, 8}), 4.0 * 3 * 10 * 4 * 8,
              2 * (3 * 10 * 2 * 2 * 8 + 2 * 3 * 4 * 8));
}

TEST(Work, Route) {
  // 3 tokens of 16 to 6 experts, top 2: logits are written once and read once; 8 bytes (index, weight) per choice.
  expect_work(op_of(OpKind::route, RouteOp{3, 16, 6, 2}), 2.0 * 3 * 16 * 6,
              2 * (3 * 16 + 16 * 6 + 2 * 3 * 6) + 3 * 2 * 8);
}

TEST(Work, Norm) {
  // Reads x, writes the result, reads one row of weights; with a residual it reads the addend and writes the sum too.
  expect_work(op_of(OpKind::norm, RowwiseOp{kThree, 8}), 4.0 * 3 * 8, 2 * (2 * 3 * 8 + 8));
  expect_work(op_of(OpKind::norm, RowwiseOp{kThree, 8, true}), 5.0 * 3 * 8, 2 * (4 * 3 * 8 + 8));
}

TEST(Work, OtherRowwiseOps) {
  expect_work(op_of(OpKind::rope_kv, RowwiseOp{kThree, 8}), 3.0 * 3 * 8, 2 * 2 * 3 * 8);
  expect_work(op_of(OpKind::add, RowwiseOp{kThree, 8}), 3 * 8, 2 * 3 * 3 * 8);
  expect_work(op_of(OpKind::permute, RowwiseOp{kRouted, 8}), 0, 2 * 2 * 11 * 8, 11);
  // Gated: 8 columns of gate and 8 of up in, 8 out.
  expect_work(op_of(OpKind::activation, RowwiseOp{kThree, 8}), 5.0 * 3 * 8, 2 * 2 * 3 * 8);
  expect_work(op_of(OpKind::activation, RowwiseOp{kThree, 8, false, true}), 6.0 * 3 * 8, 2 * 3 * 3 * 8);
  // 6 rows are weighted and added up into 3.
  expect_work(op_of(OpKind::unpermute, RowwiseOp{Extent::fixed(6), 8, false, false, 3}), 2.0 * 6 * 8, 2 * (6 + 3) * 8);
  expect_work(op_of(OpKind::input, RowwiseOp{kThree, 8}), 0, 0);
  expect_work(op_of(OpKind::step_end, RowwiseOp{kThree, 8}), 0, 0);
}

TEST(Work, CommunicationHasNone) {
  EXPECT_THROW(static_cast<void>(work_of(op_of(OpKind::all_reduce, CollectiveOpDetail{}), 0, 0)), Error);
  EXPECT_THROW(static_cast<void>(work_of(op_of(OpKind::dispatch, ExchangeOp{}), 0, 0)), Error);
  EXPECT_THROW(static_cast<void>(work_of(op_of(OpKind::send, TransferOp{}), 0, 0)), Error);
}

}  // namespace
}  // namespace foretoken::plan
