// Live runs of a Plan on this machine: warm-up, counted steps, metrics. The entry to runtime.
//
//   RunResult result = run_threads(plan, {});                    // ranks are threads of this process
//   MpiProcess mpi; if (auto result = run_mpi(mpi, plan, {})) …  // one rank per process, under mpirun
//
// Two runs are made: the headline, which records the ends of steps alone, and then an instrumented one with every op's
// times. Both have scenario.measure's warm-up and counted steps. Times are wall time since the first rank began, once
// all were ready, by rank 0's clock: how far other hosts' clocks are ahead is measured before and after
// (runtime/clock_offset.hpp). A step's time is the maximum over ranks.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/metrics.hpp"
#include "core/trace.hpp"
#include "plan/plan.hpp"
#include "plan/routing/routing_record.hpp"
#include "runtime/cuda/expert_products.hpp"

namespace foretoken::runtime {

namespace host {
class MpiWatch;
}

struct RunOptions {
  std::chrono::milliseconds step_deadline{30'000};            // nothing moves for so long: a rank has failed
  std::chrono::milliseconds setup_deadline{600'000};          // weights are drawn and buffers touched
  bool instrumented = true;                                   // make the second run
  cuda::ExpertProducts experts = cuda::ExpertProducts::each;  // on GPUs
  /// Whether this rank has been asked to stop; asked now and then, on the rank's thread. Steps that have begun are then
  /// ended, and the result holds those. Empty: never; all ranks must have it, or none.
  std::function<bool()> interrupted;
  std::string build;  // version and commit; MPI ranks must have the same
  /// For tests: called before every op of every rank, on the rank's thread; may throw, sleep or kill.
  std::function<void(RankId rank, std::int64_t step, const plan::Op& op)> before_op;
  /// For tests: another computer that a rank is said to run on, and how far its clock is ahead of this one's.
  struct FeignedComputer {
    std::string host;
    std::chrono::nanoseconds ahead{};
  };
  std::function<FeignedComputer(RankId rank)> feigned_computer;
};

/// The machine that a rank ran on.
struct MachineIdentity {
  std::string host;
  std::string cpu;  // "AMD EPYC 7B13"
  std::int64_t cores = 0;
  std::string kernel;  // "Linux 6.1.0-18-amd64"
  std::string blas;    // with the kernels it chose
  std::string mpi;     // "" in threads
  bool operator==(const MachineIdentity&) const = default;
};

/// A computer's clock beside rank 0's, before the first run and after the last.
struct ClockReading {
  std::string host;
  RankId rank;  // whose it was read at: the host's first
  struct Offset {
    Seconds ahead{};  // that the clock shows more than rank 0's at the same time
    Seconds bound{};  // half of the shortest round trip: `ahead` is off by it at most
  };
  Offset before;
  Offset after;

  /// What times of the host's ranks were put on rank 0's clock with: the middle of both.
  [[nodiscard]] Seconds ahead() const { return 0.5 * (before.ahead + after.ahead); }
  /// That those times are off by at most, if the clock drifts evenly.
  [[nodiscard]] Seconds bound() const {
    return std::max(before.bound, after.bound) + 0.5 * Seconds(std::abs((after.ahead - before.ahead).value()));
  }
};

/// Hidden states of one micro-batch as the last stage's ranks had them at the end of the last counted step.
struct Activations {
  RankId rank;
  std::int64_t micro_batch = 0;
  plan::Range sequences;      // global
  std::vector<float> hidden;  // [sequence, column]
};

struct RunResult {
  std::string plan_hash;                       // where the model's own router decided: of the plan that replays it
  std::string routing_hash;                    // likewise
  std::optional<plan::RoutingRecord> routing;  // what the model's own router decided, where it did
  std::string communicator;                    // "threads", "mpi"
  bool interrupted = false;                    // a run has fewer steps than planned, or the second was not made
  Metrics metrics;                             // of the headline run; clock: wall. Nothing if it counted no step
  Trace headline;                              // outputs only, no events
  std::optional<Trace> trace;                  // of the instrumented run: all ops, with CPU times; clock: wall
  std::optional<double> overhead;              // mean step time, instrumented / headline - 1
  std::vector<Seconds> cpu_per_step;           // [rank] mean of the counted steps, from the instrumented run
  std::optional<double> busy;             // share of the computer's core time that anybody used in the headline run
  std::vector<Activations> activations;   // ascending by rank, micro-batch
  std::string activations_hash;           // of their bits: equal for equal plans, whoever carries the messages
  std::vector<MachineIdentity> machines;  // distinct ones
  std::vector<std::int32_t> machine_of_rank;
  std::vector<ClockReading> clocks;  // of hosts other than rank 0's, by rank; empty if there are none
};

/// Runs the plan with one thread per rank.
/// @throws Error{invalid_input} if the host cannot run it (dtype, nvls): the message says what to --set
/// @throws Error{infeasible} if this machine has not the memory
/// @throws Error{rank_failed} if a rank fails or nothing moves for the step deadline; names rank, host and last op
RunResult run_threads(const plan::Plan& plan, const RunOptions& options = {});

/// Number of ranks if this process was started by mpirun or a like launcher, or nothing. Reads the environment only.
std::optional<std::int64_t> launched_ranks();

/// The topology file of the emulated cluster that this process runs in (tools/netlab), or nothing. Reads the
/// environment only.
std::optional<std::filesystem::path> emulated_topology();

#ifdef FORETOKEN_MPI
/// MPI from initialisation to finalisation: one per process, before any other use.
class MpiProcess {
 public:
  MpiProcess();
  ~MpiProcess();
  MpiProcess(const MpiProcess&) = delete;
  MpiProcess& operator=(const MpiProcess&) = delete;
  [[nodiscard]] std::int64_t rank() const { return rank_; }
  [[nodiscard]] std::int64_t ranks() const { return ranks_; }

  /// Ends all processes with the error's exit code. The first rank of a host that gets here writes the message to
  /// standard error; so it may be called by all at once, as with a scenario that none of them can read.
  [[noreturn]] void end_all(const Error& error);

  /// From now on, or no longer, SIGTERM asks this process to end early, and ends it only if that takes too long:
  /// mpirun's Ctrl-C is SIGTERM to all ranks. run_mpi() does so by itself where it can be interrupted.
  void may_end_early(bool may);
  /// SIGTERM has come meanwhile.
  [[nodiscard]] bool asked_to_end() const;

  /// For run_mpi().
  [[nodiscard]] host::MpiWatch& watch() { return *watch_; }

 private:
  std::int64_t rank_ = 0;
  std::int64_t ranks_ = 1;
  std::unique_ptr<host::MpiWatch> watch_;
};

/// Runs this process's rank of the plan. Every process of the launch calls it, with the same plan.
///
/// @return the result at rank 0, nothing elsewhere
/// @throws Error{invalid_input}, at every rank, if the number of processes is not the plan's or plans or builds differ;
///         the caller hands it to MpiProcess::end_all
/// A failure of a rank in mid-run does not return: whoever notices writes one line to stderr, naming what it knows of
/// rank, host and last op, and ends all processes with exit code 6.
std::optional<RunResult> run_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options = {});
#endif

}  // namespace foretoken::runtime
