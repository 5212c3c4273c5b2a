#include "runtime/host/verbs.hpp"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace foretoken::runtime::host {
namespace {

blasint blas_int(std::int64_t value) { return static_cast<blasint>(value); }

float inverse_rms(std::int64_t cols, const float* x) {
  double squares = 0;
  for (std::int64_t c = 0; c < cols; ++c) squares += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  return static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(kNormEpsilon)));
}

void scale_row(std::int64_t cols, const float* x, float factor, const float* weight, float* out) {
  for (std::int64_t c = 0; c < cols; ++c) out[c] = x[c] * factor * weight[c];
}

float silu(float x) { return x / (1.0F + std::exp(-x)); }

// One head's vector, rotated.
void rotate(std::int64_t head_dim, const RopeAngles& angles, const float* in, float* out) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t i = 0; i < half; ++i) {
    const float cosine = angles.cos[static_cast<std::size_t>(i)];
    const float sine = angles.sin[static_cast<std::size_t>(i)];
    const float a = in[i];
    const float b = in[i + half];
    out[i] = a * cosine - b * sine;
    out[i + half] = a * sine + b * cosine;
  }
  if (head_dim % 2 != 0) out[head_dim - 1] = in[head_dim - 1];
}

void softmax(std::int64_t count, float scale, float* x) {
  const float largest = *std::max_element(x, x + count);
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = std::exp((x[i] - largest) * scale);
    sum += x[i];
  }
  for (std::int64_t i = 0; i < count; ++i) x[i] /= sum;
}

}  // namespace

void use_one_blas_thread() { openblas_set_num_threads(1); }

std::string blas_version() {
  // OpenBLAS writes its answer into one buffer for all threads: ranks that ask at once would read each other's.
  static const std::string version = std::string(openblas_get_config()) + " " + openblas_get_corename();
  return version;
}

void norm(std::int64_t rows, std::int64_t cols, const float* x, const float* weight, float* out) {
  for (std::int64_t r = 0; r < rows; ++r, x += cols, out += cols) scale_row(cols, x, inverse_rms(cols, x), weight, out);
}

void residual_norm(std::int64_t rows, std::int64_t cols, const float* x, const float* addend, const float* weight,
                   float* sum, float* out) {
  for (std::int64_t r = 0; r < rows; ++r, x += cols, addend += cols, sum += cols, out += cols) {
    add(cols, x, addend, sum);
    scale_row(cols, sum, inverse_rms(cols, sum), weight, out);
  }
}

void gemm(std::int64_t rows, std::int64_t n, std::int64_t k, const float* in, const float* weight, float* out) {
  if (rows == 0) return;
  if (rows == 1) {  // a product of matrices would first copy the weights
    cblas_sgemv(CblasRowMajor, CblasTrans, blas_int(k), blas_int(n), 1.0F, weight, blas_int(n), in, 1, 0.0F, out, 1);
    return;
  }
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas_int(rows), blas_int(n), blas_int(k), 1.0F, in,
              blas_int(k), weight, blas_int(n), 0.0F, out, blas_int(n));
}

void grouped_gemm(std::span<const std::int64_t> rows_of_expert, std::int64_t n, std::int64_t k, const float* in,
                  const float* weights, float* out) {
  for (const std::int64_t rows : rows_of_expert) {
    gemm(rows, n, k, in, weights, out);
    in += rows * k;
    out += rows * n;
    weights += n * k;
  }
}

RopeAngles rope_angles(std::int64_t head_dim, std::int64_t position) {
  RopeAngles angles;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double angle = static_cast<double>(position) *
                         std::pow(kRopeBase, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    angles.cos.push_back(static_cast<float>(std::cos(angle)));
    angles.sin.push_back(static_cast<float>(std::sin(angle)));
  }
  return angles;
}

void rope_kv(const AttentionShape& shape, const RopeAngles& angles, const float* qkv, float* q, float* kv) {
  const std::int64_t q_cols = shape.heads * shape.head_dim;
  const std::int64_t k_cols = shape.kv_heads * shape.head_dim;
  for (std::int64_t s = 0; s < shape.sequences; ++s, qkv += q_cols + 2 * k_cols, q += q_cols) {
    float* const appended = kv + ((s + 1) * shape.context - 1) * 2 * k_cols;
    for (std::int64_t h = 0; h < shape.heads; ++h)
      rotate(shape.head_dim, angles, qkv + h * shape.head_dim, q + h * shape.head_dim);
    for (std::int64_t h = 0; h < shape.kv_heads; ++h)
      rotate(shape.head_dim, angles, qkv + q_cols + h * shape.head_dim, appended + h * shape.head_dim);
    std::copy_n(qkv + q_cols + k_cols, k_cols, appended + k_cols);
  }
}

void attention(const AttentionShape& shape, const float* q, const float* kv, float* out, float* scores) {
  const std::int64_t dim = shape.head_dim;
  const std::int64_t group = shape.heads / shape.kv_heads;
  const std::int64_t kv_cols = 2 * shape.kv_heads * dim;
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
      const float* const keys = kv + s * shape.context * kv_cols + h * dim;
      const float* const values = keys + shape.kv_heads * dim;
      const std::int64_t first = (s * shape.heads + h * group) * dim;
      if (group == 1) {
        cblas_sgemv(CblasRowMajor, CblasNoTrans, blas_int(shape.context), blas_int(dim), 1.0F, keys, blas_int(kv_cols),
                    q + first, 1, 0.0F, scores, 1);
        softmax(shape.context, scale, scores);
        cblas_sgemv(CblasRowMajor, CblasTrans, blas_int(shape.context), blas_int(dim), 1.0F, values, blas_int(kv_cols),
                    scores, 1, 0.0F, out + first, 1);
        continue;
      }
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, blas_int(group), blas_int(shape.context), blas_int(dim),
                  1.0F, q + first, blas_int(dim), keys, blas_int(kv_cols), 0.0F, scores, blas_int(shape.context));
      for (std::int64_t g = 0; g < group; ++g) softmax(shape.context, scale, scores + g * shape.context);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, blas_int(group), blas_int(dim), blas_int(shape.context),
                  1.0F, scores, blas_int(shape.context), values, blas_int(kv_cols), 0.0F, out + first, blas_int(dim));
    }
  }
}

void route(std::int64_t rows, std::int64_t hidden, std::int64_t experts, std::int64_t top_k, const float* in,
           const float* weight, const std::int32_t* chosen, float* routes, float* logits) {
  router_logits(rows, hidden, experts, in, weight, logits);
  router_weights(rows, experts, top_k, logits, chosen, routes);
}

void router_logits(std::int64_t rows, std::int64_t hidden, std::int64_t experts, const float* in, const float* weight,
                   float* logits) {
  gemm(rows, experts, hidden, in, weight, logits);
}

void top_k(std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits, std::int32_t* chosen) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
  for (std::int64_t r = 0; r < rows; ++r, logits += experts, chosen += top_k) {
    std::iota(order.begin(), order.end(), 0);
    const auto before = [logits](std::int32_t a, std::int32_t b) {
      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
    };
    std::partial_sort(order.begin(), order.begin() + top_k, order.end(), before);
    std::copy_n(order.begin(), top_k, chosen);
  }
}

void router_weights(std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits,
                    const std::int32_t* chosen, float* routes) {
  for (std::int64_t r = 0; r < rows; ++r, chosen += top_k, routes += 2 * top_k, logits += experts) {
    for (std::int64_t j = 0; j < top_k; ++j) {
      routes[j] = static_cast<float>(chosen[j]);
      routes[top_k + j] = logits[chosen[j]];
    }
    softmax(top_k, 1.0F, routes + top_k);
  }
}

void gather_rows(std::span<const std::int32_t> sources, std::int64_t cols, const float* in, float* out) {
  for (const std::int32_t source : sources) {
    std::copy_n(in + source * cols, cols, out);
    out += cols;
  }
}

void scatter_rows(std::span<const std::int32_t> targets, std::int64_t cols, const float* in, float* out) {
  for (const std::int32_t target : targets) {
    std::copy_n(in, cols, out + target * cols);
    in += cols;
  }
}

void unpermute(std::int64_t tokens, std::int64_t cols, std::int64_t top_k, const float* in, const float* routes,
               const std::int32_t* row_of, float* out) {
  for (std::int64_t t = 0; t < tokens; ++t, routes += 2 * top_k, row_of += top_k, out += cols) {
    std::fill_n(out, cols, 0.0F);
    for (std::int64_t j = 0; j < top_k; ++j) {
      if (row_of[j] < 0) continue;
      const float weight = routes[top_k + j];
      const float* const row = in + row_of[j] * cols;
      for (std::int64_t c = 0; c < cols; ++c) out[c] += weight * row[c];
    }
  }
}

void activation(std::int64_t rows, std::int64_t cols, bool gated, const float* in, float* out) {
  if (!gated) {
    for (std::int64_t i = 0; i < rows * cols; ++i) out[i] = silu(in[i]);
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r, in += 2 * cols, out += cols)
    for (std::int64_t c = 0; c < cols; ++c) out[c] = silu(in[c]) * in[cols + c];
}

void add(std::int64_t count, const float* a, const float* b, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
}

void sample(std::int64_t rows, std::int64_t cols, const float* in, std::int32_t* tokens) {
  for (std::int64_t r = 0; r < rows; ++r, in += cols)
    tokens[r] = static_cast<std::int32_t>(std::max_element(in, in + cols) - in);
}

}  // namespace foretoken::runtime::host
