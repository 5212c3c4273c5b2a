#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/host_limits.hpp"
#include "runtime/host/host_memory.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/host/mpi_messages.hpp"
#include "runtime/host/mpi_watch.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/rank_run.hpp"
#include "runtime/record_bytes.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime {
namespace {

using host::check_mpi;

// ---- do all mean the same? -----------------------------------------------------------------------------------------

struct Claim {
  std::array<char, 64> plan_hash{};
  std::array<char, 128> build{};
  std::array<char, 64> host{};
};

template <std::size_t N>
void set(std::array<char, N>& target, const std::string& text) {
  std::copy_n(text.begin(), std::min(text.size(), N - 1), target.begin());
}

struct Whereabouts {
  std::vector<RankId> here;    // ranks on this host
  std::vector<RankId> clocks;  // see clock_ranks
};

// Every rank sees all claims, so all come to the same verdict.
Whereabouts check_agreement(const MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  Claim own;
  // The plan is the same whatever number of steps is made of it; a run is not.
  const plan::MeasureSpec& measure = plan.scenario.measure;
  set(own.plan_hash, fmt::format("{}, {} + {} steps", plan.plan_hash, measure.warmup_steps, measure.steps));
  set(own.build, options.build);
  set(own.host, host_of(RankId(static_cast<std::int32_t>(mpi.rank())), options));
  std::vector<Claim> all(static_cast<std::size_t>(mpi.ranks()));
  check_mpi(MPI_Allgather(&own, sizeof own, MPI_BYTE, all.data(), sizeof own, MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgather");
  for (std::size_t r = 1; r < all.size(); ++r) {
    if (all[r].build != all[0].build)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("rank {} on {} is another build ({}) than rank 0 on {} ({}); start the same program everywhere",
                      r, all[r].host.data(), all[r].build.data(), all[0].host.data(), all[0].build.data()));
    if (all[r].plan_hash != all[0].plan_hash)
      throw Error(
          ErrorCode::invalid_input,
          fmt::format("rank {} on {} has another plan ({}) than rank 0 on {} ({}); give all ranks the same scenario, "
                      "topology and --set",
                      r, all[r].host.data(), all[r].plan_hash.data(), all[0].host.data(), all[0].plan_hash.data()));
  }
  if (mpi.ranks() != plan.program.ranks)
    throw Error(ErrorCode::invalid_input,
                fmt::format("{}: the deployment has {} ranks, and {} processes were started; use mpirun -n {}",
                            plan.scenario.name, plan.program.ranks, mpi.ranks(), plan.program.ranks));
  Whereabouts found;
  std::vector<std::string> hosts;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].host == own.host) found.here.emplace_back(r);
    hosts.emplace_back(all[r].host.data());
  }
  found.clocks = clock_ranks(hosts);
  return found;
}

// One rank's record after the other, so that no count outgrows MPI's int.
std::vector<RankRecord> gather(const MpiProcess& mpi, RankRecord own) {
  constexpr int tag = 0;
  if (mpi.rank() != 0) {
    ByteWriter writer;
    write(writer, own);
    const std::vector<char>& bytes = writer.bytes();
    FORETOKEN_CHECK(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()), "a record over 2 GiB");
    check_mpi(MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, tag, MPI_COMM_WORLD), "MPI_Send");
    return {};
  }
  std::vector<RankRecord> records(static_cast<std::size_t>(mpi.ranks()));
  records[0] = std::move(own);
  for (std::size_t r = 1; r < records.size(); ++r) {
    MPI_Status status;
    check_mpi(MPI_Probe(static_cast<int>(r), tag, MPI_COMM_WORLD, &status), "MPI_Probe");
    int size = 0;
    check_mpi(MPI_Get_count(&status, MPI_BYTE, &size), "MPI_Get_count");
    std::vector<char> bytes(static_cast<std::size_t>(size));
    check_mpi(MPI_Recv(bytes.data(), size, MPI_BYTE, static_cast<int>(r), tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
              "MPI_Recv");
    ByteReader reader(bytes);
    records[r] = read_record(reader);
  }
  return records;
}

// ---- the run -------------------------------------------------------------------------------------------------------

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  check_mpi(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  const std::string all(text);
  return all.substr(0, all.find(','));
}

RankRecord run_rank(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options,
                    const std::vector<RankId>& clocks) {
  const RankId rank(static_cast<std::int32_t>(mpi.rank()));
  host::MpiMessages messages(mpi.ranks());
  std::unique_ptr<RankRun> run;
  const auto where = [&] { return run ? run->where() : std::string("while it was set up"); };
  try {
    run = std::make_unique<RankRun>(plan, rank, messages.communicator(), options, mpi.watch().progress(), clocks);
    RankRecord record = run->run();
    record.machine.mpi = mpi_version();
    return record;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible) mpi.end_all(error);
    // What the executor itself reports says where.
    if (error.code() == ErrorCode::rank_failed) host::fail_rank(mpi, error.what());
    host::fail_rank(mpi, fmt::format("{} ({})", error.what(), where()));
  } catch (const std::exception& error) {
    host::fail_rank(mpi, fmt::format("{} ({})", error.what(), where()));
  }
}

}  // namespace

std::optional<RunResult> run_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  const Whereabouts found = check_agreement(mpi, plan, options);
  plan::require_host_can_run(plan);
  host::check_host_memory(plan, found.here);
  host::use_one_blas_thread();
  RunOptions own = options;
  if (options.interrupted) own.interrupted = [&] { return options.interrupted() || mpi.watch().asked_to_end(); };
  std::optional<host::MpiWatch::MayEndEarly> early;
  if (options.interrupted) early.emplace(mpi.watch());
  mpi.watch().set_describe([&plan](RankId rank, std::uint64_t progress) { return told_by(plan, rank, progress); });
  std::vector<RankRecord> records = gather(mpi, run_rank(mpi, plan, own, found.clocks));
  mpi.watch().set_describe({});
  if (mpi.rank() != 0) return std::nullopt;
  return put_together(plan, "mpi", std::move(records));
}

}  // namespace foretoken::runtime
