// The recording communicator: what every rank of a plan would hand to CUDA streams and NCCL, without a GPU.
//
// A recorded rank does what a rank on GPUs does: step after step it puts its role's ops on their streams, in the order
// and behind the events that runtime/step_order.hpp gives; communications become the calls that runtime/nccl_calls.hpp
// gives. The CUDA backend queues by the same two. Nothing is computed. check_recording() then proves what
// can be proven of the whole (runtime/recording/check_recording.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/nccl_calls.hpp"

namespace foretoken::runtime {

/// One op of one step, as it is put on its stream.
struct RecordedOp {
  std::int32_t step = 0;
  OpId op;
  plan::Stream stream;
  std::int32_t family = -1;  // of communicators; -1: a kernel, or a communication without calls of NCCL's
  // The host first waits for the end of this entry of the log, because it needs the counts that it brings; -1: nothing.
  std::int32_t host_waits_for = -1;
  std::vector<std::int32_t> waits;  // entries of the log, on other streams, whose events its stream waits for
  std::vector<NcclCall> calls;
};

/// Of one rank, in the order in which its host issues them.
using RankLog = std::vector<RecordedOp>;

struct Recording {
  std::int64_t steps = 0;
  std::vector<NcclFamily> families;
  std::vector<RankLog> ranks;
};

/// Records every routed step, and one step more, so that the way from the last back to the first is there too.
/// Where the model's own router decides, a uniform draw stands for it.
/// @throws Error{invalid_input} if the plan has over 1,024 ranks
Recording record(const plan::Plan& plan);

}  // namespace foretoken::runtime
