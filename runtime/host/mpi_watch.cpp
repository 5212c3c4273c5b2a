#include "runtime/host/mpi_watch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <new>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/host/mpi_last_word.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/rank_run.hpp"

namespace foretoken::runtime::host {
namespace {

// A signal handler is handed nothing, so what it writes to must be static: the one place where runtime breaks its rule.
// Blocking the signal and waiting for it in a thread would need no static, but libraries start threads before main()
// that do not block it.
volatile std::sig_atomic_t alarm_pipe = -1;

extern "C" void on_terminate(int /*signal*/) {
  const int saved = errno;
  const char byte = 't';
  static_cast<void>(!write(alarm_pipe, &byte, 1));
  errno = saved;
}

// mpirun sends SIGKILL a second after SIGTERM; what is to be said must be said before.
constexpr int kEarlyEndMillisecondsMax = 700;
constexpr int kForever = -1;

// What was written to the alarm's pipe; 0 if nothing was within that time.
char next_alarm(int pipe, int milliseconds) {
  pollfd wait{pipe, POLLIN, 0};
  int ready = 0;
  while ((ready = poll(&wait, 1, milliseconds)) < 0 && errno == EINTR) {
  }
  char byte = 0;
  if (ready > 0 && read(pipe, &byte, 1) == 1) return byte;
  return 0;
}

bool is_gone(char state) { return state == 0 || state == 'Z' || state == 'X'; }
bool is_stopped(char state) { return state == 'T' || state == 't'; }

// State letter of a process ('R', 'S', 'T' stopped, 'Z' dead, …), or 0 if there is none.
char state_of(std::int32_t process) {
  std::ifstream stat(fmt::format("/proc/{}/stat", process));
  std::string line;
  if (!std::getline(stat, line)) return 0;
  // The name in parentheses may hold anything; the state follows the last of them.
  const std::size_t end = line.rfind(") ");
  return end == std::string::npos || end + 2 >= line.size() ? '?' : line[end + 2];
}

}  // namespace

MpiWatch::MpiWatch() {
  int rank = 0;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_size(node_, &node_ranks_), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(node_, &node_rank_), "MPI_Comm_rank");
  const auto ranks = static_cast<std::size_t>(node_ranks_);
  const std::size_t bytes = node_rank_ == 0 ? sizeof(Page) + (ranks - 1) * sizeof(Slot) : 0;
  void* base = nullptr;
  check_mpi(MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes), 1, MPI_INFO_NULL, node_, static_cast<void*>(&base),
                                    &window_),
            "MPI_Win_allocate_shared");
  MPI_Aint size = 0;
  int unit = 0;
  check_mpi(MPI_Win_shared_query(window_, 0, &size, &unit, static_cast<void*>(&base)), "MPI_Win_shared_query");
  auto* const page = static_cast<Page*>(base);
  if (node_rank_ == 0) {
    new (&page->spoken) std::atomic<std::int32_t>(0);
    for (std::size_t i = 0; i < ranks; ++i) {
      new (&(&page->first)[i]) Slot();
      (&page->first)[i].progress.store(kNoProgress);
    }
  }
  check_mpi(MPI_Barrier(node_), "MPI_Barrier");
  spoken_ = &page->spoken;
  slots_ = {&page->first, ranks};
  slots_[static_cast<std::size_t>(node_rank_)].rank.store(rank);
  slots_[static_cast<std::size_t>(node_rank_)].process.store(getpid());
  check_mpi(MPI_Barrier(node_), "MPI_Barrier");

  if (pipe2(pipe_, O_CLOEXEC) != 0) throw Error(ErrorCode::internal, "no pipe is to be had");
  alarm_pipe = pipe_[1];
  struct sigaction action {};
  action.sa_handler = on_terminate;
  sigaction(SIGTERM, &action, nullptr);
  watcher_ = std::thread([this] { watch(); });
}

MpiWatch::~MpiWatch() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGTERM, &action, nullptr);
  const char byte = 'q';
  static_cast<void>(!write(pipe_[1], &byte, 1));
  watcher_.join();
  close(pipe_[0]);
  close(pipe_[1]);
  MPI_Win_free(&window_);
  MPI_Comm_free(&node_);
}

RankProgress& MpiWatch::progress() { return slots_[static_cast<std::size_t>(node_rank_)].progress; }

void MpiWatch::set_describe(Describe describe) {
  const std::scoped_lock lock(mutex_);
  describe_ = std::move(describe);
}

bool MpiWatch::take_the_word() const { return spoken_->exchange(1) == 0; }

std::string MpiWatch::neighbours() const {
  const std::scoped_lock lock(mutex_);
  const auto told = [&](const Slot& slot) {
    const RankId rank(slot.rank.load());
    return describe_ ? describe_(rank, slot.progress.load()) : std::string("before its first op");
  };
  const std::string host = this_machine().host;
  std::string text;
  const Slot* behind = nullptr;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const char state = state_of(slot.process.load());
    if (is_gone(state) || is_stopped(state))
      text += fmt::format("{}rank {} on {} {} (process {}); it was last {}", text.empty() ? "" : "; ", slot.rank.load(),
                          host, is_gone(state) ? "is dead" : "is stopped", slot.process.load(), told(slot));
    if (behind == nullptr || slot.progress.load() < behind->progress.load()) behind = &slot;
  }
  if (!text.empty() || behind == nullptr) return text;
  return fmt::format("all ranks on {} are alive; rank {} is furthest behind there, {}", host, behind->rank.load(),
                     told(*behind));
}

bool MpiWatch::all_well() const {
  for (const Slot& slot : slots_) {
    const char state = state_of(slot.process.load());
    if (is_gone(state) || is_stopped(state)) return false;
  }
  return true;
}

void MpiWatch::watch() {
  char alarm = next_alarm(pipe_[0], kForever);
  if (alarm == 't' && may_end_early_ && all_well()) {
    asked_to_end_ = true;
    alarm = next_alarm(pipe_[0], kEarlyEndMillisecondsMax);
    // A run that is over by now only has to be reported.
    if (alarm == 0 && !may_end_early_) alarm = next_alarm(pipe_[0], kForever);
  }
  if (alarm != 't' && !(alarm == 0 && asked_to_end_)) return;
  if (take_the_word())
    say_last_word(fmt::format(
        "this run was ended by SIGTERM, which mpirun sends when a rank has died or it is interrupted: {}{}",
        neighbours(),
        asked_to_end_ ? "; either a rank of another computer has died, or it was interrupted and could not end "
                        "within the second that mpirun leaves: SIGINT to one rank (kill -INT) waits for a step's end"
                      : ""));
  // No destructors: the rank's own thread may be anywhere.
  _exit(static_cast<int>(ErrorCode::rank_failed));
}

}  // namespace foretoken::runtime::host
