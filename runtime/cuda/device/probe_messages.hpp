// A message probe on the device: communicators per group of ranks, buffers, and the call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/nccl_communicator.hpp"
#include "runtime/cuda/probe.hpp"

namespace foretoken::runtime::cuda {

class ProbeMessages {
 public:
  /// @throws Error{invalid_input} if NCCL cannot be loaded
  ProbeMessages(Bootstrap& bootstrap, LaunchLayout layout);

  /// Before connect() with an algorithm. @throws Error{invalid_input} if the environment says NCCL_ALGO
  static void require_free_choice();

  [[nodiscard]] std::string version() const { return library_.version(); }

  /// One split per (ranks, nodes) of the probes. NCCL reads NCCL_ALGO whenever a communicator is made.
  void connect(const std::string& algorithm, const std::vector<MessageProbe>& probes);

  /// One communicator of all ranks: NCCL connects two of them when they first send to one another.
  void connect_all();

  /// @return whether this rank takes part
  bool prepare(const MessageProbe& probe);
  bool prepare(const PairProbe& probe);
  void queue(cudaStream_t stream);
  void poll() { communicator_->poll(); }

 private:
  void allocate(Bytes bytes);
  Bootstrap& bootstrap_;
  LaunchLayout layout_;
  NcclLibrary library_;
  std::unique_ptr<NcclCommunicator> communicator_;
  std::vector<std::pair<std::int64_t, std::int64_t>> groups_;  // [family] (ranks, nodes)
  NcclOperation operation_;
  DeviceArray<std::byte> in_;
  DeviceArray<std::byte> out_;
};

/// One rank's call. @param rank  within the group
std::vector<NcclCall> calls_of(const MessageProbe& probe, std::int64_t rank);
/// @param rank  of the launch; nothing if it is neither end
std::vector<NcclCall> calls_of(const PairProbe& probe, RankId rank);

}  // namespace foretoken::runtime::cuda
