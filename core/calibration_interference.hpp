// What kernels of communication take from the kernels that compute beside them on one GPU.
//
// Optional in a calibration of GPUs; without it the defaults below hold, which are published settings of the libraries
// and not measurements of a machine: `assumed`.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/json_reader.hpp"
#include "core/provenance.hpp"

namespace foretoken {

/// SMs are reserved by a communication kernel from its launch to its end: it waits for its peers on them, and shares
/// none with other kernels. One thread block of these libraries has an SM to itself, so their number is that of blocks.
///
/// Sources of the defaults:
///   collective_*    NCCL launches a block per channel (github.com/NVIDIA/nccl/issues/689: its blocks share no SM with
///                   compute kernels). Channels of rings and trees as logged by NCCL on 8 H100 and on 2 x 8 H100:
///                   "24 coll channels", "16 coll channels" (github.com/aws-samples/aws-do-eks, NCCL tests)
///   nvls            "16 nvls channels" in both logs
///   direct          block limit of vLLM's and SGLang's custom all-reduce kernels
///   message_*       "32 p2p channels per peer" on one node, "2" across nodes, in the same logs. Small messages use
///                   fewer: an upper bound
///   dispatch,       DeepEP's low-latency kernels with a receive hook, which take no SM while the network moves the
///   rows combine         (github.com/deepseek-ai/DeepEP, docs/legacy.md). Its normal kernels take 20 (default) or 24
/// Memory: what is sent must be read, and what arrives be written, at least once. Buffers that a kernel fills and
/// empties on the way are taken to stay in L2.
struct InterferenceCalibration {
  std::int64_t collective_in_node = 24;
  std::int64_t collective_across_nodes = 16;
  std::int64_t nvls = 16;
  std::int64_t direct = 36;
  std::int64_t message_in_node = 32;
  std::int64_t message_across_nodes = 2;
  std::int64_t dispatch = 0;
  std::int64_t combine = 0;

  double memory_bytes_sent = 1;      ///< bytes of the GPU's memory bandwidth per byte that it sends
  double memory_bytes_received = 1;  ///< and per byte that it receives

  Provenance provenance = Provenance::assumed;
  std::string source;  ///< id of an entry of Calibration::sources; empty: the defaults above

  bool operator==(const InterferenceCalibration&) const = default;
};

/// Reads the object at `place`; every member is required.
/// @throws Error{invalid_input} on a missing or unknown key, SMs outside [0, 1024], memory bytes outside [0, 16]
InterferenceCalibration read_interference_calibration(const JsonReader& place);
nlohmann::json to_json(const InterferenceCalibration& interference);

}  // namespace foretoken
