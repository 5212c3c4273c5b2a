#include "runtime/host/mpi_messages.hpp"

#include <fmt/format.h>

#include <thread>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/host/mpi_watch.hpp"
#include "runtime/machine_identity.hpp"

namespace foretoken::runtime::host {
namespace {

// Emulated nodes share the cores of one computer.
bool oversubscribed(std::int64_t all_ranks) {
  if (emulated_topology()) return static_cast<unsigned>(all_ranks) > std::thread::hardware_concurrency();
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  int ranks = 0;
  check_mpi(MPI_Comm_size(node, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  return static_cast<unsigned>(ranks) > std::thread::hardware_concurrency();
}

}  // namespace

MpiMessages::MpiMessages(std::int64_t ranks) {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  if (emulated_topology()) doorbell_.emplace(comm_);
  communicator_.emplace(comm_, oversubscribed(ranks), doorbell_ ? &*doorbell_ : nullptr);
}

MpiMessages::~MpiMessages() {
  communicator_.reset();
  doorbell_.reset();
  MPI_Comm_free(&comm_);
}

void fail_rank(MpiProcess& mpi, const std::string& what) {
  mpi.end_all(Error(ErrorCode::rank_failed, fmt::format("rank {} on {} failed: {}; {}", mpi.rank(), this_machine().host,
                                                        what, mpi.watch().neighbours())));
}

}  // namespace foretoken::runtime::host
