// What a calibration of GPUs times: a piece of work of one GPU, or a message among several. Values, without CUDA.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/dtype.hpp"
#include "core/ids.hpp"
#include "core/units.hpp"

namespace foretoken::runtime::cuda {

/// Memory of the device copied to memory of the device.
struct CopyProbe {
  Bytes bytes;        ///< read, and as many written
  bool cold = false;  ///< every repetition copies what no cache has
};

/// out[m, n] = in[m, k] x weight[k, n]; every repetition has a weight that no cache has.
struct GemmProbe {
  DType dtype = DType::bf16;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

/// One product per expert, as the backend makes a grouped GEMM; weights as in GemmProbe.
struct ExpertGemmProbe {
  DType dtype = DType::bf16;
  std::int64_t experts = 0;
  std::int64_t rows = 0;  ///< of each
  std::int64_t n = 0;
  std::int64_t k = 0;
};

/// Decode attention, one new token per sequence, on the same KV cache every time.
struct AttentionProbe {
  DType dtype = DType::bf16;
  std::int64_t batch = 0;
  std::int64_t context = 0;  ///< the new token included
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
};

enum class RowwiseKind : std::uint8_t { norm, rope, permute, activation };
std::string_view name_of(RowwiseKind kind);

/// An element-wise kernel; every repetition has operands that no cache has.
struct RowwiseProbe {
  RowwiseKind kind = RowwiseKind::norm;
  DType dtype = DType::bf16;
  std::int64_t rows = 0;
  std::int64_t cols = 0;  ///< of what is written; an activation is gated and reads twice as many
};
/// Read and written together.
Bytes traffic(const RowwiseProbe& probe);

/// What launching takes.
struct LaunchProbe {
  bool graph = false;        ///< all kernels in one graph, or each launched by itself
  bool on_device = false;    ///< time per kernel on the device, of kernels one after the other; else of the host's
                             ///< thread: per launch, of which a graph of all kernels is one
  std::int64_t kernels = 0;  ///< of a launch that is a graph, or so many launches
};

enum class MessageKind : std::uint8_t { all_reduce, all_gather, reduce_scatter, all_to_all, send_recv };
std::string_view name_of(MessageKind kind);

/// A communication by NCCL among the first ranks/nodes ranks of the launch's first `nodes` nodes.
struct MessageProbe {
  MessageKind kind = MessageKind::all_reduce;
  std::string algorithm;  ///< as NCCL_ALGO names it: "ring", …; empty where NCCL has no choice
  std::int64_t ranks = 0;
  std::int64_t nodes = 1;
  Bytes bytes;               ///< buffer of a rank: what is reduced, the gathered whole, or all that it sends
  bool beside_gemm = false;  ///< while products of matrices run on the GPU
};

/// A message by NCCL from one rank of the launch to another.
struct PairProbe {
  RankId from;
  RankId to;
  Bytes bytes;
};

using Probe = std::variant<CopyProbe, GemmProbe, ExpertGemmProbe, AttentionProbe, RowwiseProbe, LaunchProbe,
                           MessageProbe, PairProbe>;

/// "gemm bf16 m=8 n=512 k=128": no two different probes have the same.
std::string name_of(const Probe& probe);

/// Where the ranks of a launch are.
struct LaunchLayout {
  std::vector<std::int32_t> node_of_rank;  ///< nodes 0, 1, ... in the order of their first ranks

  /// @param hosts  [rank]
  static LaunchLayout of(const std::vector<std::string>& hosts);
  [[nodiscard]] std::int64_t ranks() const { return static_cast<std::int64_t>(node_of_rank.size()); }
  [[nodiscard]] std::int64_t nodes() const;
  /// Of the node that has the fewest.
  [[nodiscard]] std::int64_t ranks_per_node() const;
  /// Ranks that take part in the probe's communication, ascending.
  /// @throws Error{internal} if the launch has not so many
  [[nodiscard]] std::vector<RankId> members(const MessageProbe& probe) const;
};

}  // namespace foretoken::runtime::cuda
