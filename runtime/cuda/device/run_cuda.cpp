#include "runtime/cuda/run_cuda.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_rank.hpp"
#include "runtime/cuda/device/nccl_communicator.hpp"
#include "runtime/cuda/nccl_notes.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/stop_vote.hpp"
#ifdef FORETOKEN_MPI
#include "runtime/clock_offset.hpp"
#include "runtime/cuda/device/mpi_bootstrap.hpp"
#include "runtime/host/mpi_messages.hpp"
#include "runtime/host/mpi_watch.hpp"
#endif

namespace foretoken::runtime::cuda {

CudaRunResult run_cuda(const plan::Plan& plan, const RunOptions& options) {
  AloneBootstrap alone;
  RankProgress progress{kNoProgress};
  StopVote vote(options.interrupted);
  std::vector<CudaRankRecord> records;
  try {
    records.push_back(run_cuda_rank(plan, alone, options, progress, vote));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::rank_failed) throw;
    throw Error(ErrorCode::rank_failed, fmt::format("on {}: {}", this_machine().host, error.what()));
  }
  return put_together(plan, std::move(records));
}

#ifdef FORETOKEN_MPI
namespace {

CudaRankRecord run_or_end(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options, Bootstrap& bootstrap,
                          StopVote& vote) {
  try {
    return run_cuda_rank(plan, bootstrap, options, mpi.watch().progress(), vote);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible) throw;
    host::fail_rank(mpi, error.what());
  } catch (const std::exception& error) {
    host::fail_rank(mpi, error.what());
  }
}

// What ranks tell each other by MPI beside NCCL: their clocks, and whether they have been asked to stop.
constexpr CommunicationId kClockMessages(0);
constexpr CommunicationId kVoteMessages(1);

// Other hosts' clocks beside rank 0's.
class Clocks {
 public:
  Clocks(MpiProcess& mpi, host::MpiMessages& messages, Bootstrap& bootstrap, const RunOptions& options)
      : mpi_(mpi), deadline_(options.setup_deadline), messages_(messages) {
    const std::string host = this_machine().host;
    std::vector<std::string> hosts;
    for (const Bootstrap::Bytes& name : bootstrap.all_gather({host.begin(), host.end()}))
      hosts.emplace_back(name.begin(), name.end());
    ranks_ = clock_ranks(hosts);
  }
  [[nodiscard]] const std::vector<RankId>& ranks() const { return ranks_; }
  [[nodiscard]] std::vector<ClockOffset> read() const {
    try {
      BlockingMessages messages(messages_.communicator(), kClockMessages, deadline_);
      return measure_clock_offsets(messages, RankId(static_cast<std::int32_t>(mpi_.rank())), ranks_, [] {
        const auto now = std::chrono::steady_clock::now().time_since_epoch();
        return static_cast<std::int64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
      });
    } catch (const Error& error) {
      host::fail_rank(mpi_, error.what());
    }
  }

 private:
  MpiProcess& mpi_;
  std::chrono::milliseconds deadline_;
  host::MpiMessages& messages_;
  std::vector<RankId> ranks_;
};

// What NCCL has noted at all ranks; at rank 0.
std::optional<NcclObservation> observed_by_all(const plan::Plan& plan, const NcclNotes& notes, Bootstrap& bootstrap) {
  NcclObservation observed;
  std::vector<std::vector<NcclChoice>> of_rank;
  for (const Bootstrap::Bytes& bytes : bootstrap.gather(to_bytes(notes.choices())))
    of_rank.push_back(choices_from_bytes(bytes));
  if (bootstrap.rank() != 0) return std::nullopt;
  observed.collectives = compare_choices(plan, of_rank);
  observed.topology = notes.topology();
  observed.not_read = notes.not_read();
  return observed;
}

}  // namespace

std::optional<CudaRunResult> run_cuda_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  MpiBootstrap bootstrap;
  mpi.watch().set_describe([&plan](RankId rank, std::uint64_t progress) { return told_by(plan, rank, progress); });
  host::MpiMessages messages(mpi.ranks());
  const Clocks clocks(mpi, messages, bootstrap, options);
  std::function<bool()> interrupted;
  std::optional<host::MpiWatch::MayEndEarly> early;
  if (options.interrupted) {
    interrupted = [&] { return options.interrupted() || mpi.watch().asked_to_end(); };
    early.emplace(mpi.watch());
  }
  StopVote vote(messages.communicator(), kVoteMessages, RankId(static_cast<std::int32_t>(mpi.rank())), mpi.ranks(),
                interrupted);
  const std::vector<ClockOffset> before = clocks.read();
  const NcclNotes notes;
  const CudaRankRecord own = run_or_end(mpi, plan, options, bootstrap, vote);
  const std::vector<ClockOffset> after = clocks.read();
  std::vector<CudaRankRecord> records;
  for (const Bootstrap::Bytes& bytes : bootstrap.gather(to_bytes(own))) records.push_back(from_bytes(bytes));
  std::optional<NcclObservation> observed = observed_by_all(plan, notes, bootstrap);
  mpi.watch().set_describe({});
  if (mpi.rank() != 0) return std::nullopt;
  records.front().record.clocks = clock_readings(clocks.ranks(), before, after);
  CudaRunResult result = put_together(plan, std::move(records));
  if (NcclLibrary::chooses()) result.nccl_algorithms.clear();
  if (plan.program.ranks > 1) {
    observed->estimates = own.estimates;
    result.observed = std::move(observed);
  }
  return result;
}
#endif

}  // namespace foretoken::runtime::cuda
