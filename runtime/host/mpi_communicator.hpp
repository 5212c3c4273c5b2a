// Messages between ranks that are MPI processes.
//
// MPI delivers messages of one tag between two ranks in the order in which they are posted, so the tag is the
// communication alone. Called by the rank's thread only (MPI_THREAD_FUNNELED).
#pragma once

#include <mpi.h>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "runtime/communicator.hpp"
#include "runtime/host/mpi_doorbell.hpp"

namespace foretoken::runtime::host {

class MpiCommunicator final : public Communicator {
 public:
  /// @param communicator of all ranks, numbered as the plan numbers them; used for these messages alone
  /// @param oversubscribed more ranks than cores: rests by sleeping rather than by looking again at once
  /// @param doorbell where ranks sleep until they are woken, as those of emulated nodes do; kept by reference
  MpiCommunicator(MPI_Comm communicator, bool oversubscribed, const MpiDoorbell* doorbell = nullptr);

  MessageId send(RankId to, CommunicationId communication, std::span<const std::byte> bytes) override;
  MessageId receive(RankId from, CommunicationId communication, std::span<std::byte> bytes) override;
  bool done(MessageId message) override;
  bool progress() override;
  void rest(std::chrono::microseconds patience) override;
  void meet(std::chrono::milliseconds deadline) override;
  void time_moves(bool on) override { timing_ = on; }
  std::int64_t moving_cpu() override { return std::exchange(moving_cpu_, 0); }

 private:
  struct Expected {
    MessageId message = 0;
    int bytes = -1;  // of a receive; -1: a send
    int peer = 0;
  };
  MessageId new_message();
  bool test();
  bool test_requests();
  void sleep(std::chrono::steady_clock::duration waited) const;
  void yield(int looks, std::chrono::steady_clock::duration waited) const;

  MPI_Comm communicator_;
  bool oversubscribed_;
  const MpiDoorbell* doorbell_;
  bool timing_ = false;
  std::int64_t moving_cpu_ = 0;
  int looks_ = 0;  // in vain, one after the other
  bool waits_ = false;
  std::chrono::steady_clock::time_point waiting_since_;
  bool happened_ = false;              // found while resting, not yet reported by progress()
  std::vector<MPI_Request> requests_;  // under way
  std::vector<Expected> expected_;     // of each
  std::vector<int> completed_;         // room for MPI_Testsome
  std::vector<MPI_Status> statuses_;
  std::vector<char> done_;  // [message]
  std::vector<MessageId> free_;
};

}  // namespace foretoken::runtime::host
