#include <fmt/format.h>

#include <deque>
#include <exception>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "plan/host_limits.hpp"
#include "runtime/host/host_memory.hpp"
#include "runtime/host/thread_communicator.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/rank_run.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime {
namespace {

// OpenBLAS as Debian builds it keeps work space for twice 128 threads.
constexpr std::int64_t kThreadRanksMax = 256;

// What one thread owns. It lives until all threads are done, since others may copy from its buffers until then.
struct RankThread {
  RankProgress progress{kNoProgress};
  std::unique_ptr<host::ThreadCommunicator> communicator;
  std::unique_ptr<RankRun> run;
  RankRecord record;
};

// The message that all get: what this rank knows, and who is behind.
Error told(const plan::Plan& plan, const RankThread& rank, const std::deque<RankThread>& all, const Error& error) {
  if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible) return error;
  std::string text = fmt::format("on {}: {}", this_machine().host, error.what());
  if (error.code() != ErrorCode::rank_failed)
    return Error(ErrorCode::rank_failed, text + (rank.run ? " (" + rank.run->where() + ")" : " (while it was set up)"));
  std::vector<std::uint64_t> progress;
  for (const RankThread& other : all) progress.push_back(other.progress.load(std::memory_order_relaxed));
  if (const std::string behind = furthest_behind(plan, progress); !behind.empty()) text += "; " + behind;
  return Error(ErrorCode::rank_failed, text);
}

}  // namespace

RunResult run_threads(const plan::Plan& plan, const RunOptions& options) {
  plan::require_host_can_run(plan);
  if (plan.program.ranks > kThreadRanksMax)
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("{}: {} ranks are too many for the threads of one process, at most {}; start it with mpirun -n {}",
                    plan.scenario.name, plan.program.ranks, kThreadRanksMax, plan.program.ranks));
  const auto ranks = static_cast<std::size_t>(plan.program.ranks);
  std::vector<RankId> all_ranks;
  for (std::size_t r = 0; r < ranks; ++r) all_ranks.emplace_back(r);
  host::check_host_memory(plan, all_ranks);
  host::use_one_blas_thread();
  std::vector<std::string> hosts;
  for (const RankId rank : all_ranks) hosts.push_back(host_of(rank, options));
  const std::vector<RankId> clocks = clock_ranks(hosts);
  host::ThreadHub hub(plan.program.ranks);
  std::deque<RankThread> states(ranks);
  const auto body = [&](std::size_t r) {
    RankThread& state = states[r];
    try {
      state.run = std::make_unique<RankRun>(plan, RankId(r), *state.communicator, options, state.progress, clocks);
      state.record = state.run->run();
    } catch (const Error& error) {
      if (!hub.failed()) hub.fail(RankId(r), told(plan, state, states, error));
    } catch (const std::exception& error) {
      if (!hub.failed()) hub.fail(RankId(r), told(plan, state, states, Error(ErrorCode::internal, error.what())));
    }
  };
  const bool spin = plan.program.ranks <= usable_cores();
  for (std::size_t r = 0; r < ranks; ++r)
    states[r].communicator = std::make_unique<host::ThreadCommunicator>(hub, RankId(r), spin);
  {
    std::vector<std::jthread> threads;
    threads.reserve(ranks);
    try {
      for (std::size_t r = 0; r < ranks; ++r) threads.emplace_back(body, r);
    } catch (const std::system_error& error) {  // no more threads: those that run wait for the others
      hub.fail(RankId(threads.size()), Error(ErrorCode::internal, error.what()));
    }
  }
  if (hub.failed()) throw hub.failure();
  std::vector<RankRecord> records;
  records.reserve(ranks);
  for (RankThread& state : states) records.push_back(std::move(state.record));
  return put_together(plan, "threads", std::move(records));
}

}  // namespace foretoken::runtime
