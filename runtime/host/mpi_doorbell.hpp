// How a waiting rank of an emulated node sleeps until something comes, instead of looking again and again.
//
// Open MPI has no call that sleeps: it looks. Dozens of ranks that look for messages of a slow network leave no core to
// those that have some. So a rank here sleeps on what its MPI library would look at, the set of its connections
// (epoll), and on a socket of its own, its doorbell, which ranks of its node ring when they have put a message into
// shared memory or taken one out. What neither tells of is seen after kPatience at the latest.
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace foretoken::runtime::host {

class MpiDoorbell {
 public:
  /// Called by all ranks of the communicator at one time.
  explicit MpiDoorbell(MPI_Comm communicator);
  ~MpiDoorbell();
  MpiDoorbell(const MpiDoorbell&) = delete;
  MpiDoorbell& operator=(const MpiDoorbell&) = delete;

  /// Wakes a rank of this node, if it sleeps or will; does nothing to ranks of others.
  void ring(int rank) const;

  /// Sleeps until something may have come, but no longer than this.
  void sleep(std::chrono::steady_clock::duration longest) const;

 private:
  [[nodiscard]] std::string name_of(int rank) const;

  std::int64_t job_ = 0;
  std::vector<char> near_;            // [rank]
  int bell_ = -1;                     // socket, or -1: there is none, and sleep() is a nap
  std::vector<int> connection_sets_;  // file descriptors of epoll
};

}  // namespace foretoken::runtime::host
