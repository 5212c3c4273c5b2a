// The compute half of a calibration: how far real kernels stay behind the roofline of their shape.
//
// Every fit stores a kernel floor and a smooth table of log(measured time / roofline time). The rooflines themselves
// are formulas, in sim/cost/; the fit in calibrate/fit/ uses those same formulas.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "core/held_out.hpp"
#include "core/json_reader.hpp"
#include "core/lattice.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken {

/// What every fit has, whatever the kernel.
struct KernelFit {
  std::string framework;  ///< whose kernels were measured: "vllm", …
  std::string source;     ///< id of an entry in Calibration::sources
  Seconds floor{};        ///< shortest kernel of the kind inside a CUDA graph
  Lattice log_slowdown;   ///< log(measured / roofline time)
  /// Largest sum of the last two coordinates that was measured: the far corner of the grid is empty.
  double corner_sum_max = 0;
  HeldOut held_out;
};

/// Dense GEMM. Axes: log2_m, log2_n, log2_k.
struct GemmFit : KernelFit {
  DType dtype = DType::bf16;
};

/// Attention. An item is what one group of thread blocks works on: in decode one KV head of one sequence, in prefill
/// one query head of one sequence. Axes, decode: log2_items, log2_item_elements (context x head_dim);
/// prefill: log2_items, log2_query (new tokens per sequence).
struct AttentionFit : KernelFit {
  DType kv_dtype = DType::bf16;
  Seconds per_item{};                   ///< least time of an item on an SM
  std::vector<std::int64_t> head_dims;  ///< measured
  std::int64_t group_min = 0;           ///< query heads per KV head, measured range
  std::int64_t group_max = 0;
};

/// Element-wise kernels: floor + traffic / bandwidth.
struct MemoryFit {
  std::string source;
  Seconds floor{};
  BytesPerSecond bandwidth{};  ///< reads and writes together
};

/// Operands that sit in L2 are read faster than from HBM. Between the two sizes the share of hits falls linearly.
struct L2Fit {
  std::string source;
  Bytes hits_all_below{};
  Bytes hits_none_above{};
  BytesPerSecond bandwidth{};
};

struct ComputeCalibration {
  Provenance at_best = Provenance::measured;  ///< of a derived calibration, in whose file it is: Calibration::derived
  std::string default_framework;
  L2Fit l2;
  MemoryFit memory;
  std::vector<GemmFit> gemm;
  std::vector<AttentionFit> attention_decode;
  std::vector<AttentionFit> attention_prefill;
};

/// @throws Error{invalid_input} naming file and JSON pointer for anything missing, unknown, not finite, out of range,
///         not increasing, of the wrong length or twice the same framework and dtype
ComputeCalibration read_compute_calibration(const JsonReader& place);
nlohmann::json to_json(const ComputeCalibration& calibration);

}  // namespace foretoken
