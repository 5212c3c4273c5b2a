#include "runtime/model/weights.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "runtime/model/element.hpp"

namespace foretoken::runtime {
namespace {

using plan::Range;
using plan::WeightKind;

// A rank's attention heads, and the KV heads that they read.
struct HeadPart {
  Range heads;
  Range kv_heads;
};

HeadPart heads_of(const plan::Plan& plan, RankId rank) {
  const plan::ModelSpec& model = plan.scenario.model;
  const std::int64_t tp = plan.scenario.deployment.tp;
  const std::int64_t index = plan.placement.tp_index_of(rank);
  const std::int64_t heads = model.heads / tp;
  const std::int64_t kv_heads = std::max<std::int64_t>(1, model.kv_heads / tp);
  const std::int64_t first_kv = index * model.kv_heads / tp;  // rounded down: several ranks share a KV head
  return {{index * heads, (index + 1) * heads}, {first_kv, first_kv + kv_heads}};
}

Range scaled(Range range, std::int64_t factor) { return {range.begin * factor, range.end * factor}; }

Range shifted(Range range, std::int64_t offset) { return {range.begin + offset, range.end + offset}; }

// Columns of an up projection: a slice of the inner width, of gate and of up alike.
void set_up(MatrixPart& part, const plan::ModelSpec& model, std::int64_t inner, Range slice) {
  part.whole_rows = part.rows = model.hidden;
  part.whole_cols = model.gated ? 2 * inner : inner;
  part.cols = {slice};
  if (model.gated) part.cols.push_back(shifted(slice, inner));
}

void set_down(MatrixPart& part, const plan::ModelSpec& model, std::int64_t inner, Range slice) {
  part.whole_rows = inner;
  part.row_begin = slice.begin;
  part.rows = slice.size();
  part.whole_cols = model.hidden;
  part.cols = {{0, model.hidden}};
}

MatrixPart attention_part(const plan::Plan& plan, WeightKind kind, RankId rank) {
  const plan::ModelSpec& model = plan.scenario.model;
  const HeadPart own = heads_of(plan, rank);
  const std::int64_t q_cols = model.heads * model.head_dim;
  const std::int64_t kv_cols = model.kv_heads * model.head_dim;
  MatrixPart part;
  part.matrices = {0};
  if (kind == WeightKind::o_proj) {
    set_down(part, model, q_cols, scaled(own.heads, model.head_dim));
    return part;
  }
  const Range kv = scaled(own.kv_heads, model.head_dim);
  part.whole_rows = part.rows = model.hidden;
  part.whole_cols = q_cols + 2 * kv_cols;
  part.cols = {scaled(own.heads, model.head_dim), shifted(kv, q_cols), shifted(kv, q_cols + kv_cols)};
  return part;
}

MatrixPart mlp_part(const plan::Plan& plan, WeightKind kind, std::int64_t layer, RankId rank) {
  const plan::ModelSpec& model = plan.scenario.model;
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  const plan::Placement& placement = plan.placement;
  MatrixPart part;
  part.matrices = {0};
  std::int64_t inner = model.expert_hidden;
  std::int64_t parts = 1;
  std::int64_t index = 0;
  if (kind == WeightKind::mlp_up || kind == WeightKind::mlp_down) {
    inner = model.dense_hidden;
    parts = deployment.tp;
    index = placement.tp_index_of(rank);
  } else if (kind == WeightKind::shared_up || kind == WeightKind::shared_down) {
    inner *= model.shared_experts;
    if (deployment.exchange == plan::ExpertExchange::all_reduce) {
      parts = deployment.tp;
      index = placement.tp_index_of(rank);
    }
  } else {
    const auto experts = placement.experts_on(layer, placement.ep_index_of(rank));
    part.matrices.assign(experts.begin(), experts.end());
    if (deployment.placement == plan::ExpertPlacement::sharded) {
      parts = deployment.ep;
      index = placement.ep_index_of(rank);
    }
  }
  const Range slice = plan::split({0, inner}, parts, index);
  const bool up = kind == WeightKind::mlp_up || kind == WeightKind::shared_up || kind == WeightKind::expert_up;
  if (up) set_up(part, model, inner, slice);
  else set_down(part, model, inner, slice);
  return part;
}

MatrixPart find_part(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank) {
  const plan::ModelSpec& model = plan.scenario.model;
  switch (tensor.weight) {
    case WeightKind::none: break;
    case WeightKind::attention_norm:
    case WeightKind::mlp_norm: return {1, model.hidden, 0, 1, {{0, model.hidden}}, {0}};
    case WeightKind::router: return {model.hidden, model.experts, 0, model.hidden, {{0, model.experts}}, {0}};
    case WeightKind::qkv:
    case WeightKind::o_proj: return attention_part(plan, tensor.weight, rank);
    case WeightKind::mlp_up:
    case WeightKind::mlp_down:
    case WeightKind::expert_up:
    case WeightKind::expert_down:
    case WeightKind::shared_up:
    case WeightKind::shared_down: return mlp_part(plan, tensor.weight, tensor.layer, rank);
    // Refused before any run: plan/live_limits.hpp.
    case WeightKind::embedding:
    case WeightKind::lm_head:
    case WeightKind::output_norm:
    case WeightKind::latent_down:
    case WeightKind::latent_norm:
    case WeightKind::q_up:
    case WeightKind::k_up:
    case WeightKind::v_up: break;
  }
  FORETOKEN_CHECK(false, tensor.name + " is no weight that a live run has");
}

}  // namespace

MatrixPart part_of(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank) {
  MatrixPart part = find_part(plan, tensor, rank);
  std::int64_t cols = 0;
  for (const Range range : part.cols) cols += range.size();
  FORETOKEN_CHECK(part.rows == tensor.rows.count && cols == tensor.cols &&
                      static_cast<std::int64_t>(part.matrices.size()) == tensor.stack,
                  "the shape of " + tensor.name + " is not that of the rank's part of it");
  return part;
}

WeightNumbers numbers_of(const plan::Plan& plan, const plan::Tensor& tensor, const MatrixPart& part) {
  const bool norm = tensor.weight == WeightKind::attention_norm || tensor.weight == WeightKind::mlp_norm;
  return {matrix_key(plan.scenario.routing.seed, static_cast<std::uint32_t>(tensor.layer),
                     static_cast<std::uint32_t>(tensor.weight)),
          norm ? 1.0F / 512 : element_scale(part.whole_rows), norm ? 1.0F : 0.0F};
}

Range kv_heads_of(const plan::Plan& plan, RankId rank) { return heads_of(plan, rank).kv_heads; }

void fill_weight(const plan::Plan& plan, const plan::Tensor& tensor, RankId rank, std::span<float> out) {
  const MatrixPart part = part_of(plan, tensor, rank);
  const auto [key, scale, offset] = numbers_of(plan, tensor, part);
  std::size_t at = 0;
  for (const std::int64_t matrix : part.matrices) {
    for (std::int64_t row = part.row_begin; row < part.row_begin + part.rows; ++row) {
      const std::int64_t first = (matrix * part.whole_rows + row) * part.whole_cols;
      for (const Range cols : part.cols) {
        for (std::int64_t col = cols.begin; col < cols.end; ++col)
          out[at++] =
              offset + scale * static_cast<float>(element_integer(key, static_cast<std::uint64_t>(first + col)));
      }
    }
  }
}

void fill_kv_cache(const plan::Plan& plan, const plan::Tensor& tensor, std::int64_t micro_batch, RankId rank,
                   std::span<float> out) {
  const plan::ModelSpec& model = plan.scenario.model;
  const std::uint64_t seed = plan.scenario.routing.seed;
  const auto layer = static_cast<std::uint32_t>(tensor.layer);
  const std::array keys{matrix_key(seed, layer, kMatrixKeys), matrix_key(seed, layer, kMatrixValues)};
  const Range sequences = plan.placement.sequences(plan.placement.replica_of(rank), micro_batch);
  const Range kv_heads = heads_of(plan, rank).kv_heads;
  const std::int64_t context = plan.scenario.workload.context;
  std::size_t at = 0;
  for (std::int64_t sequence = sequences.begin; sequence < sequences.end; ++sequence) {
    for (std::int64_t position = 0; position <= context; ++position) {
      // Heads of a rank are contiguous, and so are their elements in the whole.
      const std::int64_t first =
          ((sequence * (context + 1) + position) * model.kv_heads + kv_heads.begin) * model.head_dim;
      for (const std::uint64_t key : keys) {
        for (std::int64_t i = 0; i < kv_heads.size() * model.head_dim; ++i)
          out[at++] = position == context
                          ? 0.0F
                          : static_cast<float>(element_integer(key, static_cast<std::uint64_t>(first + i))) / 256;
      }
    }
  }
  FORETOKEN_CHECK(at == out.size(), "the shape of " + tensor.name + " is not that of the rank's KV cache");
}

void fill_input(const plan::Plan& plan, std::int64_t routed_step, Range sequences, std::span<float> out) {
  const std::int64_t hidden = plan.scenario.model.hidden;
  const std::uint64_t key =
      matrix_key(plan.scenario.routing.seed, static_cast<std::uint32_t>(routed_step), kMatrixInput);
  FORETOKEN_CHECK(static_cast<std::int64_t>(out.size()) == sequences.size() * hidden, "hidden states of another size");
  const auto first = static_cast<std::uint64_t>(sequences.begin * hidden);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(element_integer(key, first + i)) / 128;
}

}  // namespace foretoken::runtime
