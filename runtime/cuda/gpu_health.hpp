// A health check of the GPUs of a launch, and of the links between them: what runtime/health does for cores, by the
// probes of `calibrate cuda`. Needs no GPU itself: that is behind ProbeDevice.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/units.hpp"
#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/probe.hpp"
#include "runtime/cuda/probe_device.hpp"
#include "runtime/health/health_probe.hpp"

namespace foretoken::runtime::cuda {

struct GpuHealthOptions {
  GemmProbe product{DType::bf16, 4096, 4096, 4096};
  Bytes copied{std::int64_t{256} << 20};   // beyond what a cache holds
  Bytes message{std::int64_t{64} << 20};   // whose time is the link's
  Bytes shortest{8};                       // whose time is latency
  Seconds batch{5e-3};                     // repetitions fill it
  int batches = 3;                         // the fastest counts: others can only slow it down
  std::int32_t within_opponents_max = 15;  // see TurnOptions
  std::int32_t between_opponents_max = 3;  // of each GPU among those of the same place on other nodes
  std::function<bool()> interrupted;       // asked at every rank between measurements; empty: never
};

/// Called by every rank of a launch at one time, with the same options.
///
///   GPUs           all at once, as they serve: a matrix product, and copying memory
///   within nodes   every pair, one pair of a node at a time
///   between nodes  GPUs of one place on different nodes, place by place: each has its own NIC, where there are enough
///
/// @param host  of this rank
/// @param nic   nearest to its GPU, "" if not known
/// @param at    told of every stage that begins
/// @param interrupted  set at every rank if one was asked to end; may be null
/// @return what all ranks have measured at rank 0, nothing elsewhere. Of a GPU product is of the dtype's own units, and
///         latency is what one of many short messages behind one another takes
/// @throws Error as ProbeDevice does
std::optional<HealthReadings> probe_gpu_health(ProbeDevice& device, Bootstrap& bootstrap, const std::string& host,
                                               const std::string& nic, const GpuHealthOptions& options,
                                               const std::function<void(HealthStage)>& at = {},
                                               bool* interrupted = nullptr);

}  // namespace foretoken::runtime::cuda
