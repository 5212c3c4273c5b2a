#include "sim/cost/host_amounts.hpp"

#include <numeric>

#include "core/error.hpp"
#include "core/numbers.hpp"

namespace foretoken::sim {
namespace {

using plan::OpKind;
using plan::TensorKind;

// What an op has to fetch again besides its operands.
constexpr double kColdElements = 1024;

struct AmountsOf {
  const plan::Role& role;
  const plan::Op& op;
  std::span<const std::int64_t> rows_per_expert;
  double beyond_cache_ns;  // per byte

  [[nodiscard]] std::int64_t rows(const plan::Extent& extent) const {
    if (extent.kind == plan::Extent::Kind::fixed) return extent.count;
    return std::accumulate(rows_per_expert.begin(), rows_per_expert.end(), std::int64_t{0});
  }
  [[nodiscard]] double memory(double elements) const { return elements * 4 * beyond_cache_ns; }

  // One matrix product. The BLAS packs the weights, then goes through the rows in tiles of four, two and one; a single
  // row is a product of matrix and vector, which packs nothing.
  void add_product(HostTerms& terms, std::int64_t m, std::int64_t n, std::int64_t k) const {
    if (m == 0) return;
    const double weights = as_double(n) * as_double(k);
    if (m == 1) {
      terms[HostTerm::vector_call] += 1;
      terms[HostTerm::vector_weights] += weights;
      terms[HostTerm::vector_memory] += memory(weights);
      terms[HostTerm::vector_cold] += memory(kColdElements);
      return;
    }
    terms[HostTerm::product_call] += 1;
    terms[HostTerm::product_weights] += weights;
    terms[HostTerm::product_memory] += memory(weights);
    terms[HostTerm::product_rows4] += weights * as_double(m - m % 4);
    terms[HostTerm::product_rows2] += (m & 2) != 0 ? weights : 0;
    terms[HostTerm::product_rows1] += (m & 1) != 0 ? weights : 0;
    terms[HostTerm::product_edges] += as_double(m) * (as_double(n) + as_double(k));
  }

  HostTerms operator()(const plan::GemmOp& shape) const {
    HostTerms terms;
    add_product(terms, rows(shape.rows), shape.n, shape.k);
    return terms;
  }

  HostTerms operator()(const plan::GroupedGemmOp& shape) const {
    HostTerms terms;
    for (const std::int64_t m : rows_per_expert) add_product(terms, m, shape.n, shape.k);
    return terms;
  }

  HostTerms operator()(const plan::AttentionOp& shape) const {
    HostTerms terms;
    const double items = as_double(shape.sequences) * as_double(shape.kv_heads);
    const double kv = items * as_double(shape.context) * 2 * as_double(shape.head_dim);
    const double scores = as_double(shape.sequences) * as_double(shape.heads) * as_double(shape.context);
    const bool group = shape.heads > shape.kv_heads;
    terms[group ? HostTerm::group_items : HostTerm::attention_items] = items;
    terms[group ? HostTerm::group_kv : HostTerm::attention_kv] = kv;
    terms[group ? HostTerm::group_memory : HostTerm::attention_memory] = memory(kv);
    terms[group ? HostTerm::group_scores : HostTerm::attention_scores] = scores;
    if (group) terms[HostTerm::group_products] = 2 * scores * as_double(shape.head_dim);
    return terms;
  }

  HostTerms operator()(const plan::RouteOp& shape) const {
    HostTerms terms;
    add_product(terms, shape.rows, shape.experts, shape.hidden);
    terms[HostTerm::choose_rows] = as_double(shape.rows);
    terms[HostTerm::choose_choices] = as_double(shape.rows) * as_double(shape.top_k);
    return terms;
  }

  HostTerms operator()(const plan::RowwiseOp& shape) const {
    HostTerms terms;
    const double n = as_double(rows(shape.rows));
    const double elements = n * as_double(shape.cols);
    switch (op.kind) {
      case OpKind::norm:
        terms[HostTerm::norm_call] = 1;
        terms[HostTerm::norm_elements] = elements;
        terms[HostTerm::norm_added] = shape.residual ? elements : 0;
        terms[HostTerm::norm_memory] = memory(shape.residual ? 2 * elements : elements);
        terms[HostTerm::norm_cold] = memory(kColdElements);
        return terms;
      case OpKind::rope_kv: {
        terms[HostTerm::rope_call] = 1;
        terms[HostTerm::rope_elements] = elements;
        double appended = 0;
        for (const TensorId output : op.outputs) {
          const plan::Tensor& tensor = role.tensors[output.index()];
          if (tensor.kind == TensorKind::kv_cache) appended = n * as_double(tensor.cols);
        }
        terms[HostTerm::rope_memory] = memory(appended);
        terms[HostTerm::rope_cold] = memory(kColdElements);
        return terms;
      }
      case OpKind::activation:
        terms[HostTerm::activation_call] = 1;
        terms[HostTerm::activation_elements] = elements;
        terms[HostTerm::activation_gates] = shape.gated ? elements : 0;
        terms[HostTerm::activation_cold] = memory(kColdElements);
        return terms;
      case OpKind::input:
      case OpKind::permute:
        terms[HostTerm::copy_call] = 1;
        terms[HostTerm::copy_rows] = n;
        terms[HostTerm::copy_elements] = elements;
        terms[HostTerm::copy_memory] = memory(elements);
        terms[HostTerm::copy_cold] = memory(kColdElements);
        return terms;
      case OpKind::unpermute:
        terms[HostTerm::unpermute_call] = 1;
        terms[HostTerm::unpermute_rows] = n;
        terms[HostTerm::unpermute_elements] = elements;
        terms[HostTerm::unpermute_written] = as_double(shape.out_rows) * as_double(shape.cols);
        terms[HostTerm::unpermute_memory] = memory(terms[HostTerm::unpermute_written]);
        terms[HostTerm::unpermute_cold] = memory(kColdElements);
        return terms;
      case OpKind::add:
        terms[HostTerm::add_call] = 1;
        terms[HostTerm::add_elements] = elements;
        terms[HostTerm::add_memory] = memory(elements);
        terms[HostTerm::add_cold] = memory(kColdElements);
        return terms;
      case OpKind::step_end:
        terms[HostTerm::sample_call] = 1;
        terms[HostTerm::sample_elements] = elements;
        return terms;
      default: break;
    }
    FORETOKEN_CHECK(false, op.name + " is not a row-wise op");
  }

  HostTerms operator()(const plan::CollectiveOpDetail&) const { return communication(); }
  HostTerms operator()(const plan::ExchangeOp&) const { return communication(); }
  HostTerms operator()(const plan::TransferOp&) const { return communication(); }
  [[nodiscard]] HostTerms communication() const {
    FORETOKEN_CHECK(false, op.name + " is a communication, not a compute op");
  }
};

std::int64_t bytes_of(const plan::Tensor& tensor, std::int64_t routed_rows) {
  const std::int64_t rows = tensor.rows.kind == plan::Extent::Kind::fixed ? tensor.rows.count : routed_rows;
  return tensor.stack * rows * tensor.cols * bytes_per_element(tensor.dtype);
}

// What comes from memory where no cache has it: weights, and the KV cache.
bool is_resident(const plan::Tensor& tensor) { return tensor.kind != TensorKind::activation; }

}  // namespace

HostTerms host_amounts(const plan::Role& role, const plan::Op& op, std::span<const std::int64_t> rows_per_expert,
                       Seconds beyond_cache) {
  return std::visit(AmountsOf{role, op, rows_per_expert, beyond_cache.value() * 1e9}, op.detail);
}

std::vector<Bytes> reuse_distances(const plan::Role& role, std::int64_t routed_rows) {
  std::vector<Bytes> distances(role.ops.size());
  std::vector<std::int64_t> touched(role.tensors.size(), -1);  // [tensor] when last
  std::int64_t now = 0;
  const auto distance_of = [&](std::size_t tensor) {
    std::int64_t bytes = 0;
    for (std::size_t other = 0; other < touched.size(); ++other)
      if (other == tensor || touched[other] > touched[tensor]) bytes += bytes_of(role.tensors[other], routed_rows);
    return Bytes(bytes);
  };
  // Twice: the first pass only fills the cache.
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t o = 0; o < role.ops.size(); ++o, ++now) {
      const plan::Op& op = role.ops[o];
      const bool appends = op.kind == OpKind::rope_kv;
      for (const auto* operands : {&op.inputs, &op.outputs})
        for (const TensorId id : *operands)
          if (is_resident(role.tensors[id.index()])) distances[o] = std::max(distances[o], distance_of(id.index()));
      for (const auto* operands : {&op.inputs, &op.outputs}) {
        for (const TensorId id : *operands) {
          // Appending touches one row of each sequence: the cache is no nearer for it.
          if (appends && role.tensors[id.index()].kind == TensorKind::kv_cache) continue;
          touched[id.index()] = now;
        }
      }
    }
    if (pass == 0) distances.assign(role.ops.size(), Bytes(0));
  }
  // The rest's operands, and what an op needs besides, come round once a step.
  std::int64_t step = 0;
  for (std::size_t t = 0; t < touched.size(); ++t)
    if (touched[t] >= 0) step += bytes_of(role.tensors[t], routed_rows);
  for (std::size_t o = 0; o < role.ops.size(); ++o)
    if (distances[o] == Bytes(0)) distances[o] = Bytes(step);
  return distances;
}

}  // namespace foretoken::sim
