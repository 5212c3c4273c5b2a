// One rank's share of a live run, whatever carries its messages; and the shares put together.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/clock_offset.hpp"
#include "runtime/executor.hpp"
#include "runtime/host/host_compute.hpp"
#include "runtime/row_tables.hpp"
#include "runtime/run.hpp"
#include "runtime/stop_vote.hpp"

namespace foretoken::runtime {

/// What one rank has to tell.
struct RankRecord {
  // When the two runs began, in nanoseconds of the computer's steady clock, which all its processes share.
  std::int64_t began = 0;
  std::int64_t instrumented_began = 0;
  std::vector<std::int64_t> ends;               // headline: see Executor::run
  std::vector<std::int64_t> instrumented_ends;  // empty if there was no such run
  bool interrupted = false;                     // either has fewer steps than the plan, or the second is not there
  RankEvents events;
  std::vector<Activations> activations;
  std::vector<std::int32_t> routes;  // where the model's own router decides: see routes_of
  MachineIdentity machine;
  std::optional<double> busy;  // see RunResult; of this rank's computer
  // Rank 0's alone, which puts the records together: of the ranks whose clocks were read (clock_ranks).
  std::vector<ClockReading> clocks;
};

/// Holds a rank's tensors and schedules. They must outlive all ranks' runs: others copy from them.
class RankRun {
 public:
  /// Draws the weights. Call it on the thread that calls run(). Keeps references to plan, communicator and options.
  /// @param clocks  ranks whose clocks are compared with rank 0's: see clock_ranks
  RankRun(const plan::Plan& plan, RankId rank, Communicator& communicator, const RunOptions& options,
          RankProgress& progress, std::vector<RankId> clocks);

  /// Headline, then the instrumented run. @throws Error as Executor::run and Communicator::meet do
  RankRecord run();
  /// See Executor::where.
  [[nodiscard]] std::string where() const { return executor_.where(); }

 private:
  [[nodiscard]] std::vector<Activations> activations() const;
  [[nodiscard]] std::vector<ClockOffset> read_clocks() const;
  [[nodiscard]] std::chrono::nanoseconds clock_ahead() const;

  const plan::Plan& plan_;
  RankId rank_;
  Communicator& communicator_;
  const RunOptions& options_;
  std::vector<RankId> clocks_;
  RowTables tables_;
  host::HostCompute compute_;
  StopVote vote_;
  Executor executor_;
};

/// Whether every rank's step waits for all others'. Replicas that never meet run at their own pace, and must not be
/// held together by a vote on whether they go on: such a run ends early between its two runs alone.
bool steps_meet(const plan::Plan& plan);

/// Whether a run with these ends of steps has come to every routed step, so that what routers decided is known.
bool decided_all(const plan::Plan& plan, RankId rank, const std::vector<std::int64_t>& ends);

/// Experts of the tokens of a rank's that no other rank tells of, by (routed step, layer, micro-batch, token, choice).
/// @param tables  which know them by now
std::vector<std::int32_t> routes_of(const plan::Plan& plan, RankId rank, const RowTables& tables);

/// @param records one per rank
RunResult put_together(const plan::Plan& plan, const std::string& communicator, std::vector<RankRecord> records);

/// Both comparisons of the clocks of `ranks`, hosts to be filled in by put_together().
std::vector<ClockReading> clock_readings(std::span<const RankId> ranks, std::span<const ClockOffset> before,
                                         std::span<const ClockOffset> after);

/// The host that a rank is on, or is said to be.
std::string host_of(RankId rank, const RunOptions& options);

/// "in step 3 at l0.m1.qkv", from what the rank itself last wrote.
std::string told_by(const plan::Plan& plan, RankId rank, std::uint64_t progress);
/// The rank that is furthest behind among those given, as text; empty ones (-1) are left out.
/// @param progress [rank] as RankProgress holds it
std::string furthest_behind(const plan::Plan& plan, std::span<const std::uint64_t> progress);

/// A rank has written nothing yet.
inline constexpr std::uint64_t kNoProgress = ~std::uint64_t{0};

}  // namespace foretoken::runtime
