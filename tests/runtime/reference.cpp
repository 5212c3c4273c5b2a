#include "tests/runtime/reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "plan/program/program.hpp"
#include "runtime/model/element.hpp"

namespace foretoken::test {
namespace {

using plan::WeightKind;
using runtime::element_integer;
using runtime::element_scale;
using runtime::matrix_key;
using Row = std::vector<double>;

class Reference {
 public:
  Reference(const plan::ModelSpec& model, const plan::WorkloadSpec& workload, const plan::Routing& routing,
            std::uint64_t seed, std::int64_t routed_step, const ReferenceFaults& faults)
      : model_(model), workload_(workload), routing_(routing), seed_(seed), step_(routed_step), faults_(faults) {}

  Row hidden_state(std::int64_t sequence) {
    const std::uint64_t key = matrix_key(seed_, static_cast<std::uint32_t>(step_), runtime::kMatrixInput);
    Row x;
    for (std::int64_t c = 0; c < model_.hidden; ++c)
      x.push_back(element_integer(key, static_cast<std::uint64_t>(sequence * model_.hidden + c)) / 128.0);
    for (std::int64_t layer = 0; layer < model_.layers; ++layer) {
      add(x, attention(layer, sequence, normed(layer, WeightKind::attention_norm, x)), 1);
      const Row h = normed(layer, WeightKind::mlp_norm, x);
      if (layer < model_.dense_layers) {
        add(x, mlp(layer, WeightKind::mlp_up, WeightKind::mlp_down, 0, model_.dense_hidden, h), 1);
      } else {
        add(x, experts(layer, sequence, h), 1);
        if (model_.shared_experts > 0)
          add(x,
              mlp(layer, WeightKind::shared_up, WeightKind::shared_down, 0,
                  model_.shared_experts * model_.expert_hidden, h),
              1);
      }
    }
    return x;
  }

 private:
  static void add(Row& to, const Row& what, double factor) {
    for (std::size_t c = 0; c < to.size(); ++c) to[c] += factor * what[c];
  }

  // Element of matrix `index` of a stack of rows x cols matrices.
  double weight(std::int64_t layer, WeightKind kind, std::int64_t index, std::int64_t rows, std::int64_t cols,
                std::int64_t row, std::int64_t col) {
    const std::uint64_t key = matrix_key(seed_, static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(kind));
    const double value = element_integer(key, static_cast<std::uint64_t>((index * rows + row) * cols + col)) *
                         static_cast<double>(element_scale(rows));
    if (kind == WeightKind::expert_up && faults_.expert_up) return faults_.expert_up(layer, index, row, col, value);
    return value;
  }

  Row product(std::int64_t layer, WeightKind kind, std::int64_t index, const Row& x, std::int64_t cols) {
    Row y(static_cast<std::size_t>(cols), 0.0);
    const auto rows = static_cast<std::int64_t>(x.size());
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c)
        y[static_cast<std::size_t>(c)] += x[static_cast<std::size_t>(r)] * weight(layer, kind, index, rows, cols, r, c);
    return y;
  }

  Row normed(std::int64_t layer, WeightKind kind, const Row& x) {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double rms = std::sqrt(squares / static_cast<double>(x.size()) + 1e-5);
    const std::uint64_t key = matrix_key(seed_, static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(kind));
    Row y;
    for (std::size_t c = 0; c < x.size(); ++c) y.push_back(x[c] / rms * (1 + element_integer(key, c) / 512.0));
    return y;
  }

  // The step's token stands at position `context`, behind the cached ones.
  Row rotated(const Row& x, std::int64_t begin) const {
    const std::int64_t dim = model_.head_dim;
    Row y(x.begin() + begin, x.begin() + begin + dim);
    for (std::int64_t i = 0; i < dim / 2; ++i) {
      const double angle = static_cast<double>(workload_.context) *
                           std::pow(10'000.0, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
      const double a = x[static_cast<std::size_t>(begin + i)];
      const double b = x[static_cast<std::size_t>(begin + i + dim / 2)];
      y[static_cast<std::size_t>(i)] = a * std::cos(angle) - b * std::sin(angle);
      y[static_cast<std::size_t>(i + dim / 2)] = a * std::sin(angle) + b * std::cos(angle);
    }
    return y;
  }

  Row cached(std::int64_t layer, std::uint32_t matrix, std::int64_t sequence, std::int64_t position,
             std::int64_t kv_head) const {
    const std::uint64_t key = matrix_key(seed_, static_cast<std::uint32_t>(layer), matrix);
    const std::int64_t first =
        ((sequence * (workload_.context + 1) + position) * model_.kv_heads + kv_head) * model_.head_dim;
    Row x;
    for (std::int64_t i = 0; i < model_.head_dim; ++i)
      x.push_back(element_integer(key, static_cast<std::uint64_t>(first + i)) / 256.0);
    return x;
  }

  Row attention(std::int64_t layer, std::int64_t sequence, const Row& x) {
    const std::int64_t dim = model_.head_dim;
    const Row qkv = product(layer, WeightKind::qkv, 0, x, (model_.heads + 2 * model_.kv_heads) * dim);
    Row all;
    for (std::int64_t head = 0; head < model_.heads; ++head) {
      const std::int64_t kv_head = head / (model_.heads / model_.kv_heads);
      const Row q = rotated(qkv, head * dim);
      Row weights;
      std::vector<Row> values;
      for (std::int64_t position = 0; position <= workload_.context; ++position) {
        const bool is_new = position == workload_.context;
        const std::int64_t v_begin = (model_.heads + model_.kv_heads + kv_head) * dim;
        const Row k = is_new ? rotated(qkv, (model_.heads + kv_head) * dim)
                             : cached(layer, runtime::kMatrixKeys, sequence, position, kv_head);
        values.push_back(is_new ? Row(qkv.begin() + v_begin, qkv.begin() + v_begin + dim)
                                : cached(layer, runtime::kMatrixValues, sequence, position, kv_head));
        double dot = 0;
        for (std::size_t i = 0; i < q.size(); ++i) dot += q[i] * k[i];
        weights.push_back(dot / std::sqrt(static_cast<double>(dim)));
      }
      const Row out = weighted(softmax(weights), values);
      all.insert(all.end(), out.begin(), out.end());
    }
    return product(layer, WeightKind::o_proj, 0, all, model_.hidden);
  }

  static Row softmax(Row x) {
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - largest);
    for (double& value : x) value /= sum;
    return x;
  }

  static Row weighted(const Row& weights, const std::vector<Row>& rows) {
    Row sum(rows.front().size(), 0.0);
    for (std::size_t i = 0; i < rows.size(); ++i) add(sum, rows[i], weights[i]);
    return sum;
  }

  Row mlp(std::int64_t layer, WeightKind up, WeightKind down, std::int64_t index, std::int64_t inner, const Row& x) {
    const Row raised = product(layer, up, index, x, model_.gated ? 2 * inner : inner);
    const auto silu = [](double value) { return value / (1 + std::exp(-value)); };
    Row activated;
    for (std::size_t c = 0; c < static_cast<std::size_t>(inner); ++c)
      activated.push_back(silu(raised[c]) * (model_.gated ? raised[c + static_cast<std::size_t>(inner)] : 1));
    return product(layer, down, index, activated, model_.hidden);
  }

  // The model's own router: one largest logit after the other, the first of equal ones.
  static void choose(const Row& logits, std::vector<std::int32_t>& chosen) {
    Row left = logits;
    for (std::int32_t& expert : chosen) {
      expert = static_cast<std::int32_t>(std::max_element(left.begin(), left.end()) - left.begin());
      left[static_cast<std::size_t>(expert)] = -INFINITY;
    }
  }

  Row experts(std::int64_t layer, std::int64_t sequence, const Row& x) {
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(model_.top_k));
    const Row logits = product(layer, WeightKind::router, 0, x, model_.experts);
    if (routing_.known()) routing_.experts_of(step_, layer, sequence, chosen);
    else choose(logits, chosen);
    if (faults_.experts) faults_.experts(layer, sequence, chosen);
    Row gates;
    std::vector<Row> outputs;
    for (const std::int32_t expert : chosen) {
      gates.push_back(logits[static_cast<std::size_t>(expert)]);
      outputs.push_back(mlp(layer, WeightKind::expert_up, WeightKind::expert_down, expert, model_.expert_hidden, x));
    }
    return weighted(softmax(gates), outputs);
  }

  const plan::ModelSpec& model_;
  const plan::WorkloadSpec& workload_;
  const plan::Routing& routing_;
  std::uint64_t seed_;
  std::int64_t step_;
  const ReferenceFaults& faults_;
};

}  // namespace

std::vector<std::vector<double>> reference_hidden_states(const plan::ModelSpec& model,
                                                         const plan::WorkloadSpec& workload,
                                                         const plan::Routing& routing, std::uint64_t seed,
                                                         std::int64_t routed_step, const ReferenceFaults& faults) {
  Reference reference(model, workload, routing, seed, routed_step, faults);
  std::vector<std::vector<double>> states;
  for (std::int64_t s = 0; s < workload.sequences; ++s) states.push_back(reference.hidden_state(s));
  return states;
}

}  // namespace foretoken::test
