// Which probes a calibration of a GPU makes, and in which order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/device_spec.hpp"
#include "runtime/cuda/probe.hpp"

namespace foretoken::calibrate {

/// On one GPU: products of matrices (bf16, fp16, fp32: 14 row counts, 36 shapes), of experts, decode attention (four
/// head shapes, 1 to 256 sequences, contexts of 16 to 65536), norm, RoPE, permutation and gating of 16 KB to 256 MB,
/// copies from and to memory and L2, launches.
///
/// @param device  its datasheet: element types without a peak are left out, and what takes over a quarter of its memory
std::vector<runtime::cuda::Probe> gpu_probes(const DeviceSpec& device);

/// Among the ranks of a launch, per group of 2, 4, … ranks of a node and of all of its ranks, and of as many ranks on
/// 2, 4, … and all nodes: all-reduce, all-gather, reduce-scatter by each algorithm, all-to-all, send and receive, 1 KB
/// to 512 MB, alone; three sizes of each also beside products of matrices.
///
/// @param multicast  the nodes' switches reduce and multicast, so that NVLS is to be measured
std::vector<runtime::cuda::MessageProbe> message_probes(const runtime::cuda::LaunchLayout& layout, bool multicast);

/// In an order that the seed gives; messages of one algorithm stay together, as they share communicators.
void shuffle_probes(std::vector<runtime::cuda::Probe>& probes, std::int64_t seed);

/// Bytes of an even exchange of rows: what a rank sends, its own share included, as dispatch and combine of DeepEP's
/// kernels would. The tokens whose rows an all-to-all of `message_probes` stands for:
struct ExchangedTokens {
  std::int64_t hidden = 0;
  std::int64_t tokens = 0;  ///< per rank
  std::int64_t top_k = 0;
};
std::vector<ExchangedTokens> exchanged_tokens();

}  // namespace foretoken::calibrate
