// Published compute measurements as samples: GEMM, attention, whole MoE modules, memory copies.
//
// Times come in milliseconds in the files and leave as Seconds. A damaged line is an Error that names file and line; a
// dtype that foretoken does not model (block-scaled fp8) is left out and counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

struct GemmSample {
  std::string framework;
  DType dtype = DType::bf16;
  std::int64_t m = 0, n = 0, k = 0;
  Seconds time{};
};

struct AttentionSample {
  std::string framework;
  DType kv_dtype = DType::bf16;
  std::int64_t batch = 0;
  std::int64_t query = 1;    ///< new tokens per sequence
  std::int64_t context = 0;  ///< the new ones included
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  Seconds time{};
};

/// One GPU's expert layer with all experts, no parallelism: router, permutation, both GEMMs, activation.
struct MoeSample {
  std::string framework;
  std::string model;
  std::int64_t tokens = 0;
  Seconds time{};
};

template <class Sample>
struct Samples {
  std::vector<Sample> samples;
  std::int64_t left_out = 0;
};

Samples<GemmSample> read_gemm_samples(const std::filesystem::path& path);
/// A sweep over every m, of one framework that the file does not name.
Samples<GemmSample> read_gemm_row_sweep(const std::filesystem::path& path, const std::string& framework);
/// Decode sweeps: one new token each.
Samples<AttentionSample> read_decode_samples(const std::filesystem::path& path);
/// Prefill sweeps; rows with a cached prefix or a sliding window are left out.
Samples<AttentionSample> read_prefill_samples(const std::filesystem::path& path);
/// bf16, balanced routing, tp = ep = 1, unflagged; the rest is left out.
Samples<MoeSample> read_moe_samples(const std::filesystem::path& path);
/// Device-to-device copy bandwidths, reads and writes together, rated A by the file.
Samples<BytesPerSecond> read_copy_bandwidths(const std::filesystem::path& path);

}  // namespace foretoken::calibrate
