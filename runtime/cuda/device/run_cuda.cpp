#include "runtime/cuda/run_cuda.hpp"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_rank.hpp"
#include "runtime/machine_identity.hpp"
#ifdef FORETOKEN_MPI
#include "runtime/cuda/device/mpi_bootstrap.hpp"
#include "runtime/host/mpi_watch.hpp"
#endif

namespace foretoken::runtime::cuda {

CudaRunResult run_cuda(const plan::Plan& plan, const RunOptions& options) {
  AloneBootstrap alone;
  RankProgress progress{kNoProgress};
  std::vector<CudaRankRecord> records;
  try {
    records.push_back(run_cuda_rank(plan, alone, options, progress));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::rank_failed) throw;
    throw Error(ErrorCode::rank_failed, fmt::format("on {}: {}", this_machine().host, error.what()));
  }
  return put_together(plan, std::move(records));
}

#ifdef FORETOKEN_MPI
namespace {

CudaRankRecord run_or_end(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options, Bootstrap& bootstrap) {
  const auto fail = [&](const std::string& what) {
    mpi.end_all(Error(ErrorCode::rank_failed, fmt::format("rank {} on {} failed: {}; {}", mpi.rank(),
                                                          this_machine().host, what, mpi.watch().neighbours())));
  };
  try {
    return run_cuda_rank(plan, bootstrap, options, mpi.watch().progress());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_input || error.code() == ErrorCode::infeasible) throw;
    fail(error.what());
  } catch (const std::exception& error) {
    fail(error.what());
  }
  return {};
}

}  // namespace

std::optional<CudaRunResult> run_cuda_mpi(MpiProcess& mpi, const plan::Plan& plan, const RunOptions& options) {
  MpiBootstrap bootstrap;
  mpi.watch().set_describe([&plan](RankId rank, std::uint64_t progress) { return told_by(plan, rank, progress); });
  const CudaRankRecord own = run_or_end(mpi, plan, options, bootstrap);
  std::vector<CudaRankRecord> records;
  for (const Bootstrap::Bytes& bytes : bootstrap.gather(to_bytes(own))) records.push_back(from_bytes(bytes));
  mpi.watch().set_describe({});
  if (mpi.rank() != 0) return std::nullopt;
  return put_together(plan, std::move(records));
}
#endif

}  // namespace foretoken::runtime::cuda
