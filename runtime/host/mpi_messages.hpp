// What carries the messages of this process's rank under MPI, and how a rank that fails ends all.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/host/mpi_communicator.hpp"
#include "runtime/host/mpi_doorbell.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime::host {

/// A communicator of its own, which keeps its messages apart from everything else's.
class MpiMessages {
 public:
  /// Collective over all ranks, as is the destructor. @throws Error{rank_failed} as check_mpi
  explicit MpiMessages(std::int64_t ranks);
  ~MpiMessages();
  MpiMessages(const MpiMessages&) = delete;
  MpiMessages& operator=(const MpiMessages&) = delete;
  [[nodiscard]] Communicator& communicator() { return *communicator_; }

 private:
  MPI_Comm comm_ = MPI_COMM_NULL;
  std::optional<MpiDoorbell> doorbell_;
  std::optional<MpiCommunicator> communicator_;
};

/// Ends all processes: this rank has failed. Says so, and what is known of its neighbours.
[[noreturn]] void fail_rank(MpiProcess& mpi, const std::string& what);

}  // namespace foretoken::runtime::host
