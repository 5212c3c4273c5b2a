// The recording communicator: what every rank of a plan would hand to CUDA streams and NCCL, without a GPU.
//
// A recorded rank does what a rank on GPUs does: it goes through its role's ops in program order, step after step, and
// puts each on its stream after the events of the op's dependencies; communications become the calls that
// runtime/nccl_calls.hpp gives, which the backend makes too. Nothing is computed. check_recording() then proves what
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
/// @throws Error{invalid_input} if the plan has over 1,024 ranks, or exchanges once per node
Recording record(const plan::Plan& plan);

}  // namespace foretoken::runtime
