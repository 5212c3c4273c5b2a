// Rooflines: what a shape costs on an ideal machine. The cost models multiply them by a fitted slowdown, and the fit in
// calibrate/fit/ divides measurements by them; both call these functions, so that they can never disagree.
//
// Work is counted in double: shapes come from users and m * n * k may pass 2^63.
#pragma once

#include <cstdint>

#include "core/calibration_compute.hpp"
#include "core/device_spec.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

/// The rates that a roofline needs, for one dtype.
struct MachineRates {
  BytesPerSecond memory{};  ///< datasheet peak of HBM
  FlopsPerSecond peak{};    ///< datasheet peak of the dtype
  BytesPerSecond l2{};
  double l2_hits_all_below = 0;   ///< bytes
  double l2_hits_none_above = 0;  ///< bytes
  int sms = 1;
};

MachineRates machine_rates(const DeviceSpec& device, const L2Fit& l2, FlopsPerSecond peak);

/// Whether operands were left in L2 by whoever touched them before. Benchmarks repeat one kernel on the same operands
/// (`repeated`); between two visits of a KV cache in a serving step, gigabytes of weights pass through L2 (`cold`).
enum class Residency { repeated, cold };

struct GemmShape {
  std::int64_t m = 0;  ///< rows of activations
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t element_bytes = 2;  ///< of both operands; the result has at least 2
  double weight_bytes = 0;         ///< of a weight in memory, where it is stored narrower; 0: element_bytes
};

/// Ideal time of C[m,n] = A[m,k] B[k,n], without the kernel floor.
///
///   sqrt(t_memory^2 + t_flops^2),   t_flops = 2 m n k / peak
///   t_memory = weights / hbm + activations / (hbm or L2, by their size)
///
/// The root of squares is a roofline with a rounded corner: near the ridge, kernels overlap loads and math imperfectly.
/// Weights count as HBM traffic whatever their size: in the published sweeps even 8 MB of weights take
/// floor + bytes / 3 TB/s, so those benchmarks streamed them. Activations are what the kernel before has just written.
Seconds gemm_roofline(const GemmShape& shape, const MachineRates& rates);

/// What no kernel can beat: weights once from HBM, FLOPs at peak.
Seconds gemm_lower_bound(const GemmShape& shape, const MachineRates& rates);

struct AttentionShape {
  std::int64_t batch = 0;    ///< sequences
  std::int64_t query = 1;    ///< new tokens per sequence; 1 in decode
  std::int64_t context = 0;  ///< tokens attended to at the end, the new ones included
  std::int64_t heads = 0;    ///< query heads on this GPU
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;     ///< of queries and keys
  DType dtype = DType::bf16;     ///< of queries, results and math
  DType kv_dtype = DType::bf16;  ///< of the KV cache
  Residency kv = Residency::cold;
  std::int64_t value_dim = 0;  ///< of values and results; 0: head_dim
  bool latent = false;         ///< values are the first value_dim elements of the keys, and read with them
};

/// Elements of a value.
std::int64_t value_dim(const AttentionShape& shape);

/// Elements of one token in one KV head: key and value, or the one latent that is both.
double kv_elements(const AttentionShape& shape);

/// What one group of thread blocks works on.
enum class AttentionPhase {
  decode,  ///< one KV head of one sequence
  prefill  ///< 128 query rows of one query head of one sequence
};

/// Ideal time of attention, without the kernel floor:
///
///   (t_items^4 + t_memory^4 + t_flops^4)^(1/4)
///
///   t_items  = items / SMs x per_item     decode: items = batch x kv_heads; prefill: batch x heads x ceil(query / 128)
///   t_memory = (cached K and V) / (hbm, or L2 if repeated) + (new K and V, queries, results) / (hbm or L2, by size)
///   t_flops  = 2 (head_dim + value_dim) heads batch x (query (context - query) + query (query + 1) / 2) / peak
///              (causal mask; scores from the keys, then the weighted sum of the values)
///
/// The fourth power is a sharper corner than in GEMM: the published decode sweeps switch from one regime to the other
/// within a factor of two in context.
///
/// Multi-head latent attention is this with other dimensions. Decode, its projections absorbed: one KV head, the
/// latent, of head_dim 512 + 64, of which 512 are the value. Prefill, expanded: a KV head per head, head_dim 128 + 64,
/// value_dim 128. (Dimensions of DeepSeek-V3.)
Seconds attention_roofline(AttentionPhase phase, const AttentionShape& shape, Seconds per_item,
                           const MachineRates& rates);

/// What no kernel can beat: the K and V bytes that must come from HBM, FLOPs at peak.
Seconds attention_lower_bound(const AttentionShape& shape, const MachineRates& rates);

/// Share of accesses that hit L2 for a working set of `bytes`.
double l2_share(double bytes, const MachineRates& rates);

}  // namespace foretoken::sim
