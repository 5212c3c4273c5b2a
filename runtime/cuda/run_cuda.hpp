// Live runs of a Plan on GPUs: one process per GPU, messages by NCCL. The entry to runtime/cuda.
//
//   CudaRunResult result = run_cuda(plan, {});                             // one rank, this process
//   MpiProcess mpi; if (auto result = run_cuda_mpi(mpi, plan, {})) …       // under mpirun or srun
//
// As with the host's backend two runs are made, and their times mean the same; see runtime/run.hpp. Both functions are
// there in builds with CUDA (FORETOKEN_CUDA) alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cuda/nccl_choices.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime {
class MpiProcess;
}

namespace foretoken::runtime::cuda {

/// What the driver said of a GPU during the headline run. Read, never set.
struct GpuConditions {
  std::int64_t samples = 0;  // none: there is no NVML
  std::int64_t sm_clock_mhz_min = 0;
  std::int64_t sm_clock_mhz_max = 0;
  double power_watts_mean = 0;
  std::int64_t temperature_celsius_max = 0;
  std::vector<std::string> throttled;  // reasons that held at any sample: "power cap", "hardware slowdown"
};

/// The GPU of one rank.
struct GpuRecord {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  std::string uuid;
  std::string pci;  // "0000:1b:00.0"
  std::int64_t multiprocessors = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t tensors_bytes = 0;  // what the run allocated for tensors and work space
  GpuConditions conditions;
};

/// What NCCL's own model says that a collective takes (ncclGroupSimulateEnd).
struct NcclEstimate {
  std::string family;      // of communicators: "tp on compute"
  std::string function;    // "ncclAllReduce"
  std::int64_t bytes = 0;  // as NCCL counts them, see nccl_choices.hpp
  Seconds time{};
};

/// What NCCL has noted of itself during a run.
struct NcclObservation {
  std::vector<ChosenCollective> collectives;  // as planned and as carried out
  std::vector<NcclEstimate> estimates;        // of rank 0
  std::string topology;                       // NCCL's XML of rank 0's node; empty if there is none
  std::string not_read;                       // why `collectives` has no choices; empty if it has
};

struct CudaRunResult {
  RunResult run;
  std::vector<GpuRecord> gpus;  // [rank]
  std::string driver;           // "CUDA 13.0 of the driver, 13.0 of the runtime"
  std::string blas;
  std::string nccl;             // "2.28.9"; empty with one rank
  std::string nccl_algorithms;  // as forced by the plan
  bool graphs = false;          // steps were captured
  ExpertProducts experts = ExpertProducts::each;
  std::optional<NcclObservation> observed;  // nothing with one rank
};

#ifdef FORETOKEN_CUDA
/// @throws Error{invalid_input} if the plan has more ranks than one, or what the backend refuses
/// (runtime/cuda/limits.hpp),
///         or there is no GPU or library
/// @throws Error{infeasible} if the GPU has not the memory
/// @throws Error{rank_failed} if CUDA fails or no step ends for the step deadline
CudaRunResult run_cuda(const plan::Plan& plan, const RunOptions& options = {});

/// For builds with MPI.
/// Runs this process's rank. Every process of the launch calls it, with the same plan.
/// @return the result at rank 0, nothing elsewhere
/// @throws Error{invalid_input}, at every rank, as run_cuda(), or if the launch does not fit the plan
/// A failure of a rank in mid-run does not return: it aborts NCCL, writes one line and ends all with exit code 6.
std::optional<CudaRunResult> run_cuda_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options = {});
#endif

}  // namespace foretoken::runtime::cuda
