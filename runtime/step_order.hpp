// In which order a step's ops go onto a device's streams, and which streams wait for which ops.
//
// The plan's streams become streams of the device. Ops are queued in program order: an op's dependencies stand before
// it, so every event is recorded before another stream is told to wait for it, and all ranks queue the communications
// of a group in one order. The CUDA backend queues so, and the recording communicator (runtime/recording)
// too. Nothing here needs CUDA.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/program/program.hpp"

namespace foretoken::runtime {

struct QueuedOp {
  OpId op;
  std::size_t stream = 0;               // index into StepOrder::streams
  std::vector<plan::Dependency> waits;  // for ops of other streams, the last of each alone
  bool awaited = false;                 // an event is recorded behind it
};

struct StepOrder {
  std::vector<plan::Stream> streams;  // ascending
  std::vector<QueuedOp> ops;          // program order
  bool steps_meet = false;            // some wait reaches into the step before
};

StepOrder step_order(const plan::Role& role);

}  // namespace foretoken::runtime
