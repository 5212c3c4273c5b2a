// What was timed on GPUs as the samples that calibrate/fit takes, the same as of published measurements.
#pragma once

#include <string>
#include <vector>

#include "calibrate/import/compute_samples.hpp"
#include "calibrate/import/network_samples.hpp"
#include "calibrate/measure/measure_device.hpp"
#include "core/collective_algorithm.hpp"

namespace foretoken::calibrate {

/// Whose kernels they are: `framework` of every sample.
inline constexpr const char* kForetokenKernels = "foretoken";

/// An element-wise kernel or a copy from and to memory.
struct MemorySample {
  std::string kind;  ///< "norm", "copy", …
  Bytes traffic;     ///< read and written together
  Seconds time{};
};

struct ExpertSample {
  runtime::cuda::ExpertGemmProbe probe;
  Seconds time{};
};

struct LaunchSample {
  runtime::cuda::LaunchProbe probe;
  Seconds time{};
};

/// A collective by one algorithm of NCCL's.
struct AlgorithmSample {
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::ring;
  CollectiveSample sample;
};

/// A message alone, and beside products of matrices.
struct BesideSample {
  runtime::cuda::MessageProbe probe;
  Seconds alone{};
  Seconds beside{};
};

struct DeviceSamples {
  std::vector<GemmSample> gemm;
  std::vector<AttentionSample> attention;
  std::vector<MemorySample> memory;
  std::vector<MemorySample> l2_copies;
  std::vector<ExpertSample> experts;
  std::vector<LaunchSample> launches;
  std::vector<AlgorithmSample> collectives;
  std::vector<ExchangeSample> exchanges;  ///< all-to-alls, as the tokens that they stand for; one of both times each
  std::vector<MessageSample> messages;
  std::vector<BesideSample> beside;
};

/// Every probe by the median of its times.
DeviceSamples samples_of(const DeviceMeasurement& measured);

/// A line per probe: name, median, half of its 90 % interval, repetitions, clock.
std::string device_samples_csv(const DeviceMeasurement& measured);

}  // namespace foretoken::calibrate
