// The host's compute verbs: plain functions on fp32 matrices, row-major and without padding.
//
// The executor and the calibration's microbenchmarks call the same ones. Products are OpenBLAS, which must run on one
// thread (use_one_blas_thread()): a rank is one core. Every sum is added in an order that the arguments alone decide.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace foretoken::runtime::host {

inline constexpr float kNormEpsilon = 1e-5F;
inline constexpr double kRopeBase = 10'000;

/// From now on every product of this process runs on the thread that asks for it. A setting of OpenBLAS, and so of the
/// process.
void use_one_blas_thread();
/// "OpenBLAS 0.3.21 ... Haswell", as the library describes itself.
std::string blas_version();

/// RMS norm of each row: out = x / sqrt(mean(x^2) + kNormEpsilon) x weight.
void norm(std::int64_t rows, std::int64_t cols, const float* x, const float* weight, float* out);
/// sum = x + addend, then the norm of sum.
void residual_norm(std::int64_t rows, std::int64_t cols, const float* x, const float* addend, const float* weight,
                   float* sum, float* out);

/// out[rows, n] = in[rows, k] x weight[k, n]
void gemm(std::int64_t rows, std::int64_t n, std::int64_t k, const float* in, const float* weight, float* out);

/// The same per expert; rows stand by expert, weights are stacked.
void grouped_gemm(std::span<const std::int64_t> rows_of_expert, std::int64_t n, std::int64_t k, const float* in,
                  const float* weights, float* out);

/// Heads of one rank, and positions in its KV cache with the new one.
struct AttentionShape {
  std::int64_t sequences = 0;
  std::int64_t context = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
};

/// cos and sin of position x kRopeBase^(-2 i / head_dim), i < head_dim / 2.
struct RopeAngles {
  std::vector<float> cos;
  std::vector<float> sin;
};
RopeAngles rope_angles(std::int64_t head_dim, std::int64_t position);

/// Rotates q and k by the last position, pairing elements i and i + head_dim / 2 (the last of an odd head_dim stays),
/// and writes k and v of the new token to the last position of the cache.
/// @param qkv  [sequences, q | k | v]
/// @param q    [sequences, heads x head_dim]
/// @param kv   [sequences x context, k of all KV heads | v of all KV heads]
void rope_kv(const AttentionShape& shape, const RopeAngles& angles, const float* qkv, float* q, float* kv);

/// Decode attention: softmax(q k^T / sqrt(head_dim)) v, head h reading KV head h / (heads / kv_heads).
/// @param scores room for heads / kv_heads x context numbers
void attention(const AttentionShape& shape, const float* q, const float* kv, float* out, float* scores);

/// Router: logits = in x weight; routes[row] = top_k experts as numbers, then the softmax over their logits alone.
/// @param chosen  [row][choice], the planned experts
/// @param logits  room for rows x experts numbers
void route(std::int64_t rows, std::int64_t hidden, std::int64_t experts, std::int64_t top_k, const float* in,
           const float* weight, const std::int32_t* chosen, float* routes, float* logits);

/// The parts of route(), for whoever has to choose between them.
void router_logits(std::int64_t rows, std::int64_t hidden, std::int64_t experts, const float* in, const float* weight,
                   float* logits);
/// chosen[row] = the top_k experts of largest logit, in descending order, of equal ones the lower number first.
void top_k(std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits, std::int32_t* chosen);
void router_weights(std::int64_t rows, std::int64_t experts, std::int64_t top_k, const float* logits,
                    const std::int32_t* chosen, float* routes);

/// out row i = in row sources[i]
void gather_rows(std::span<const std::int32_t> sources, std::int64_t cols, const float* in, float* out);
/// out row targets[i] = in row i
void scatter_rows(std::span<const std::int32_t> targets, std::int64_t cols, const float* in, float* out);

/// out row t = sum over choices j, in order, of weight(t, j) x in row row_of[t x top_k + j]; -1 adds nothing.
/// @param routes as route() leaves them
void unpermute(std::int64_t tokens, std::int64_t cols, std::int64_t top_k, const float* in, const float* routes,
               const std::int32_t* row_of, float* out);

/// SiLU: x / (1 + exp(-x)); gated: silu(gate) x up, columns [gate | up] in.
void activation(std::int64_t rows, std::int64_t cols, bool gated, const float* in, float* out);

void add(std::int64_t count, const float* a, const float* b, float* out);

/// Index of the largest element of each row, the first among equals: what stands for sampling.
void sample(std::int64_t rows, std::int64_t cols, const float* in, std::int32_t* tokens);

}  // namespace foretoken::runtime::host
