#include "runtime/cuda/device/mpi_bootstrap.hpp"

#include <mpi.h>

#include <limits>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"

namespace foretoken::runtime::cuda {
namespace {

using host::check_mpi;

int count_of(const Bootstrap::Bytes& bytes) {
  FORETOKEN_CHECK(bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()), "a record over 2 GiB");
  return static_cast<int>(bytes.size());
}

}  // namespace

MpiBootstrap::MpiBootstrap() {
  int rank = 0;
  int ranks = 0;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "MPI_Comm_size");
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  int on_node = 0;
  check_mpi(MPI_Comm_rank(node, &on_node), "MPI_Comm_rank");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  rank_ = rank;
  ranks_ = ranks;
  rank_on_node_ = on_node;
}

// Sizes first, then all bytes behind one another.
std::vector<Bootstrap::Bytes> MpiBootstrap::all_gather(const Bytes& own) {
  const int count = count_of(own);
  std::vector<int> counts(static_cast<std::size_t>(ranks_));
  check_mpi(MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
  std::vector<int> begins;
  int end = 0;
  for (const int size : counts) {
    begins.push_back(end);
    FORETOKEN_CHECK(size <= std::numeric_limits<int>::max() - end, "records over 2 GiB");
    end += size;
  }
  Bytes together(static_cast<std::size_t>(end));
  check_mpi(MPI_Allgatherv(own.data(), count, MPI_CHAR, together.data(), counts.data(), begins.data(), MPI_CHAR,
                           MPI_COMM_WORLD),
            "MPI_Allgatherv");
  std::vector<Bytes> all;
  for (std::size_t r = 0; r < counts.size(); ++r)
    all.emplace_back(together.begin() + begins[r], together.begin() + begins[r] + counts[r]);
  return all;
}

// One rank's bytes after the other, so that no count outgrows MPI's int.
std::vector<Bootstrap::Bytes> MpiBootstrap::gather(const Bytes& own) {
  constexpr int tag = 0;
  if (rank_ != 0) {
    check_mpi(MPI_Send(own.data(), count_of(own), MPI_CHAR, 0, tag, MPI_COMM_WORLD), "MPI_Send");
    return {};
  }
  std::vector<Bytes> all(static_cast<std::size_t>(ranks_));
  all.front() = own;
  for (std::size_t r = 1; r < all.size(); ++r) {
    MPI_Status status;
    check_mpi(MPI_Probe(static_cast<int>(r), tag, MPI_COMM_WORLD, &status), "MPI_Probe");
    int count = 0;
    check_mpi(MPI_Get_count(&status, MPI_CHAR, &count), "MPI_Get_count");
    all[r].resize(static_cast<std::size_t>(count));
    check_mpi(MPI_Recv(all[r].data(), count, MPI_CHAR, static_cast<int>(r), tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE),
              "MPI_Recv");
  }
  return all;
}

}  // namespace foretoken::runtime::cuda
