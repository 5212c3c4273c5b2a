// Clocks, power and throttle reasons of a GPU, from NVIDIA's management library where it is there. Read, never set.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "runtime/cuda/run_cuda.hpp"

namespace foretoken::runtime::cuda {

/// Samples the GPU's conditions now and then.
class ConditionSampler {
 public:
  /// Without NVML, or for a GPU that it does not know, it samples nothing. @param pci "0000:1b:00.0"
  explicit ConditionSampler(const std::string& pci);

  /// Takes a sample if the last is older than 50 ms: a call of NVML takes some ten microseconds.
  void sample();
  [[nodiscard]] GpuConditions conditions() const;

 private:
  struct Library;
  const Library* library_ = nullptr;
  void* device_ = nullptr;
  GpuConditions conditions_;
  double power_sum_ = 0;
  std::uint64_t reasons_ = 0;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace foretoken::runtime::cuda
