// A compute probe's operands on the device, and its work on a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/gemm.hpp"
#include "runtime/cuda/probe.hpp"

namespace foretoken::runtime::cuda {

/// Makes what probes repeat. Keeps a reference to the products.
class ProbeWork {
 public:
  /// @param l2  bytes of the device's cache: operands that no cache may have go round in four times as many
  ProbeWork(Gemm& gemm, std::int64_t l2, std::int64_t multiprocessors);

  /// Queues the repetition of that number, 0, 1, ….
  using Repeat = std::function<void(std::int64_t repetition, cudaStream_t stream)>;

  /// Gives up the operands before, gets and fills those of the probe. Not for launches and messages.
  /// @throws Error{infeasible} if the memory is not free
  Repeat make(const Probe& probe);

  /// A kernel of nothing to speak of, and one of some ten microseconds: to launch.
  Repeat tiny();
  Repeat longer();

 private:
  struct Maker;
  std::byte* memory(std::int64_t bytes);
  std::byte* filled(std::int64_t bytes, DType dtype);
  [[nodiscard]] std::int64_t rounds(std::int64_t bytes) const;

  Gemm& gemm_;
  std::int64_t l2_;
  std::int64_t multiprocessors_;
  std::vector<DeviceArray<std::byte>> operands_;
  DeviceArray<std::byte> workspace_;
};

}  // namespace foretoken::runtime::cuda
