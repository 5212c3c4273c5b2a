// A device and a calibration with round numbers, so that expected times are short sums.
#pragma once

#include "core/calibration_compute.hpp"
#include "core/device_spec.hpp"
#include "sim/cost/roofline.hpp"

namespace foretoken::sim {

/// 1 TB/s of memory, 1 PFLOP/s bf16 and fp16, 2 PFLOP/s fp8, 100 SMs.
inline DeviceSpec invented_device() {
  DeviceSpec device;
  device.name = "invented";
  device.memory = Bytes(100'000'000'000);
  device.memory_bandwidth = BytesPerSecond(1e12);
  device.l2 = Bytes(2'000'000);
  device.sms = 100;
  device.peak_flops[static_cast<std::size_t>(DType::bf16)] = FlopsPerSecond(1e15);
  device.peak_flops[static_cast<std::size_t>(DType::fp16)] = FlopsPerSecond(1e15);
  device.peak_flops[static_cast<std::size_t>(DType::fp8)] = FlopsPerSecond(2e15);
  return device;
}

/// L2 at 4 TB/s, hit always below 1 MB and never above 2 MB.
inline L2Fit invented_l2() { return {"none", Bytes(1'000'000), Bytes(2'000'000), BytesPerSecond(4e12)}; }

/// Floor of 1 us, no slowdown: times are floor + roofline. GEMM is measured for all dimensions from 1 to 2^12,
/// attention for up to 2^12 items of up to 2^16 elements with head_dim 128 and 1 to 8 query heads per KV head.
inline ComputeCalibration invented_calibration() {
  ComputeCalibration calibration;
  calibration.default_framework = "plain";
  calibration.l2 = invented_l2();
  calibration.memory = {"none", Seconds(1e-6), BytesPerSecond(5e11)};
  GemmFit gemm;
  gemm.framework = "plain";
  gemm.floor = Seconds(1e-6);
  gemm.log_slowdown = {{{"log2_m", {0, 6, 12}}, {"log2_n", {0, 12}}, {"log2_k", {0, 12}}},
                       std::vector<double>(12, 0.0)};
  gemm.corner_sum_max = 23;
  calibration.gemm = {gemm};
  AttentionFit attention;
  attention.framework = "plain";
  attention.floor = Seconds(1e-6);
  attention.head_dims = {128};
  attention.group_min = 1;
  attention.group_max = 8;
  attention.corner_sum_max = 28;
  attention.log_slowdown = {{{"log2_items", {0, 12}}, {"log2_item_elements", {0, 16}}}, std::vector<double>(4, 0.0)};
  calibration.attention_decode = {attention};
  calibration.attention_prefill = {attention};
  return calibration;
}

}  // namespace foretoken::sim
