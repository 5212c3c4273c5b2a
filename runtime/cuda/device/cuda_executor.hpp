// Runs the Program of one rank on a GPU: the plan's streams as CUDA streams, dependencies as events, and each routed
// step as a captured graph (or op by op, where the scenario or the schedule says so).
//
// The counterpart of runtime/executor.hpp, which drives ops as their messages come. Here the host only queues, in the
// order of step_order(), and looks on. What runs when is the device's to decide, within the same streams and
// dependencies. Only where ranks exchange counts (dispatch_mode exact) does it wait within a step: before a dispatch,
// for the counts of its rows.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/device/cuda_compute.hpp"
#include "runtime/cuda/device/nccl_communicator.hpp"
#include "runtime/cuda/device/timed_events.hpp"
#include "runtime/executor.hpp"
#include "runtime/nccl_calls.hpp"
#include "runtime/step_order.hpp"

namespace foretoken::runtime::cuda {

class CudaExecutor {
 public:
  /// Makes streams and works out all calls of NCCL. Keeps references to all. @param nccl null with one rank
  CudaExecutor(const plan::Plan& plan, RankId rank, RowTables& tables, const NcclLowering& lowering,
               CudaCompute& compute, NcclCommunicator* nccl, ExecutorOptions options);
  ~CudaExecutor();
  CudaExecutor(const CudaExecutor&) = delete;
  CudaExecutor& operator=(const CudaExecutor&) = delete;

  /// Runs every routed step once, op by op: libraries load, connect and choose then, and not in what is timed.
  void warm_up();

  /// Runs steps 0 to steps - 1, or fewer if the vote says so. Arguments as of runtime::Executor::run, but that an op of
  /// a device is posted, and a communication begun, when its stream comes to it; CPU times stay zero.
  /// @param look_on  called now and then while steps are under way
  /// @throws Error{rank_failed} if CUDA or NCCL fails, or no step ends for the step deadline
  void run(std::int64_t steps, std::vector<std::int64_t>& ends, RankEvents* events,
           const std::function<void()>& look_on);

  [[nodiscard]] std::chrono::steady_clock::time_point began() const { return began_; }
  /// "step 3, not before l0.m0.dispatch", as far as events tell.
  [[nodiscard]] std::string where() const;

 private:
  // Which marks an op has among a step's: -1 for none.
  struct Marks {
    std::vector<std::int32_t> begin;  // [op]
    std::vector<std::int32_t> end;
    std::size_t count = 0;
  };
  struct Graph {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    std::vector<cudaGraphNode_t> nodes;  // [mark]
  };

  void set_marks(bool all);
  void queue_step(std::int64_t step, bool captured);
  void queue_op(const QueuedOp& queued, std::int64_t step, bool captured);
  void queue_communication(const QueuedOp& queued, std::int64_t step);
  [[nodiscard]] const NcclOperation& operation_of(std::size_t op, std::int64_t routed_step);
  void wait_for_counts(const plan::Op& dispatch, std::int64_t routed_step);
  void look_after(std::chrono::steady_clock::time_point since, const std::string& missed) const;
  void capture(std::int64_t routed_step);
  [[nodiscard]] bool begins(std::int64_t step);
  void launch(std::int64_t step);
  void discard_graphs();
  [[nodiscard]] bool ended(std::int64_t step);
  void await(std::int64_t step);
  void read(std::int64_t step, std::vector<std::int64_t>& ends, RankEvents* events);
  [[nodiscard]] cudaStream_t origin() const { return streams_.front(); }
  [[nodiscard]] std::size_t event_index(std::int64_t step, std::size_t op) const {
    return static_cast<std::size_t>(step) * role_.ops.size() + op;
  }

  const plan::Plan& plan_;
  RankId rank_;
  const plan::Role& role_;
  const RowTables& tables_;
  const NcclLowering& lowering_;
  CudaCompute& compute_;
  NcclCommunicator* nccl_;
  ExecutorOptions options_;
  bool captures_;
  std::size_t window_;
  std::int64_t routed_steps_;
  StepOrder order_;
  std::vector<cudaStream_t> streams_;  // [stream of order_]
  // [op][routed step, or 0]; one that is made anew each time where the host counts.
  std::vector<std::vector<NcclOperation>> communications_;
  // Behind the counts for the dispatches of a layer and micro-batch.
  std::map<std::pair<std::int16_t, std::int16_t>, CudaEvent> counted_;
  std::vector<std::vector<CudaEvent>> awaited_;  // [op][parity of the step], of ops that others wait for
  std::vector<CudaEvent> fork_;                  // one
  std::vector<CudaEvent> joins_;                 // [stream]
  std::vector<std::vector<CudaEvent>> done_;     // [slot of the window][stream], or one for a graph
  Marks marks_;
  std::vector<Graph> graphs_;         // [routed step]
  std::optional<TimedEvents> times_;  // of the run under way
  std::vector<std::int64_t> read_;    // room
  std::int64_t oldest_ = 0;           // step that has not been read yet
  std::function<void()> look_on_;     // of the run under way
  std::chrono::steady_clock::time_point began_;
};

}  // namespace foretoken::runtime::cuda
