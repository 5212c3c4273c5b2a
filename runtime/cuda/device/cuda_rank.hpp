// One rank's share of a run on GPUs, from its GPU to its record.
#pragma once

#include <string>

#include "plan/plan.hpp"
#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/run_cuda.hpp"
#include "runtime/rank_run.hpp"
#include "runtime/stop_vote.hpp"

namespace foretoken::runtime::cuda {

struct CudaRankRecord {
  RankRecord record;
  GpuRecord gpu;
  std::string driver;
  std::string blas;
  std::string nccl;
  ExpertProducts experts = ExpertProducts::each;
  std::vector<NcclEstimate> estimates;  // stay at their rank
};

/// Takes a GPU, agrees with the other ranks, and makes the headline and the instrumented run, or what of them the vote
/// lets be made.
///
/// @throws Error{invalid_input}, Error{infeasible}, the same at every rank, if the ranks cannot run the plan together
/// @throws Error{rank_failed} of this rank alone, if something fails later; NCCL is aborted then
CudaRankRecord run_cuda_rank(const plan::Plan& plan, Bootstrap& bootstrap, const RunOptions& options,
                             RankProgress& progress, StopVote& vote);

/// The records of all ranks, put together.
CudaRunResult put_together(const plan::Plan& plan, std::vector<CudaRankRecord> records);

std::vector<char> to_bytes(const CudaRankRecord& record);
CudaRankRecord from_bytes(std::span<const char> bytes);

}  // namespace foretoken::runtime::cuda
