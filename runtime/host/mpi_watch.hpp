// What the ranks of one host know of each other without messages: a page of shared memory, and the system's process
// table.
//
// A rank that is killed or stopped sends no last word. Its neighbours find its process and the op that it last began
// here, and one of them says so. mpirun answers a killed rank with SIGTERM to all others, and Ctrl-C too: a thread
// waits for that. Where all ranks of the host are well and the run can end early, the signal asks it to; if it has not
// ended a moment later, another computer's rank has died.
#pragma once

#include <mpi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "runtime/executor.hpp"

namespace foretoken::runtime::host {

class MpiWatch {
 public:
  /// Collective over all ranks.
  MpiWatch();
  ~MpiWatch();
  MpiWatch(const MpiWatch&) = delete;
  MpiWatch& operator=(const MpiWatch&) = delete;

  /// This rank's own, for the executor to write.
  [[nodiscard]] RankProgress& progress();

  /// How to say where a rank is; set once the plan is known.
  using Describe = std::function<std::string(RankId rank, std::uint64_t progress)>;
  void set_describe(Describe describe);

  /// From now on, or no longer, SIGTERM asks the run to end early, and only ends the process if that takes too long.
  void may_end_early(bool may) { may_end_early_ = may; }
  /// While one lives, it may.
  class MayEndEarly {
   public:
    explicit MayEndEarly(MpiWatch& watch) : watch_(watch) { watch_.may_end_early(true); }
    ~MayEndEarly() { watch_.may_end_early(false); }
    MayEndEarly(const MayEndEarly&) = delete;
    MayEndEarly& operator=(const MayEndEarly&) = delete;

   private:
    MpiWatch& watch_;
  };
  /// SIGTERM has come while it might.
  [[nodiscard]] bool asked_to_end() const { return asked_to_end_; }

  /// What is known of the other ranks of this host: those that are gone or stopped, else the one furthest behind.
  [[nodiscard]] std::string neighbours() const;

  /// True for the first rank of this host that asks: it has the word.
  [[nodiscard]] bool take_the_word() const;

 private:
  struct Slot {
    RankProgress progress;
    std::atomic<std::int32_t> rank;
    std::atomic<std::int32_t> process;
  };
  struct Page {
    std::atomic<std::int32_t> spoken;
    std::int32_t unused;
    Slot first;  // of as many as there are ranks on the host
  };
  void watch();
  [[nodiscard]] bool all_well() const;

  MPI_Comm node_ = MPI_COMM_NULL;
  MPI_Win window_ = MPI_WIN_NULL;
  int node_ranks_ = 0;
  int node_rank_ = 0;
  std::span<Slot> slots_;
  std::atomic<std::int32_t>* spoken_ = nullptr;
  mutable std::mutex mutex_;  // of describe_
  Describe describe_;
  int pipe_[2] = {-1, -1};
  std::atomic<bool> may_end_early_ = false;
  std::atomic<bool> asked_to_end_ = false;
  std::thread watcher_;
};

}  // namespace foretoken::runtime::host
