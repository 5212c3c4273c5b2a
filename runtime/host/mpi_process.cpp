#include <mpi.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <utility>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"
#include "runtime/host/mpi_last_word.hpp"
#include "runtime/host/mpi_watch.hpp"
#include "runtime/run.hpp"

namespace {

// While MPI starts or ends, its ranks look every 100 us whether the others are there: with 64 on two cores that leaves
// nothing to the daemons that would tell them, and a start takes a minute instead of seconds. So they look less often.
std::atomic<bool> patient = false;
constexpr useconds_t kPatientNap = 5'000;

class Patience {
 public:
  Patience() { patient = true; }
  ~Patience() { patient = false; }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;
};

}  // namespace

// Stands before that of the C library, for MPI's libraries too.
extern "C" int usleep(useconds_t microseconds) {
  if (patient) microseconds = std::max(microseconds, kPatientNap);
  const timespec nap{static_cast<time_t>(microseconds / 1'000'000),
                     static_cast<long>(microseconds % 1'000'000) * 1'000};
  return nanosleep(&nap, nullptr);
}

namespace foretoken::runtime {

namespace host {

void say_last_word(const std::string& message) {
  const std::string line = "foretoken: " + message + "\n";
  static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));
}

}  // namespace host

MpiProcess::MpiProcess() {
  int provided = 0;
  const Patience patience;
  host::check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED)
    throw Error(ErrorCode::internal, "this MPI cannot be used by a process with threads");
  host::check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  int rank = 0;
  int ranks = 0;
  host::check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  host::check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &ranks), "MPI_Comm_size");
  rank_ = rank;
  ranks_ = ranks;
  watch_ = std::make_unique<host::MpiWatch>();
}

MpiProcess::~MpiProcess() {
  watch_.reset();
  const Patience patience;
  MPI_Finalize();
}

void MpiProcess::may_end_early(bool may) { watch_->may_end_early(may); }

bool MpiProcess::asked_to_end() const { return watch_->asked_to_end(); }

void MpiProcess::end_all(const Error& error) {
  if (watch_->take_the_word()) host::say_last_word(error.what());
  MPI_Abort(MPI_COMM_WORLD, static_cast<int>(error.code()));
  std::abort();  // MPI_Abort does not return
}

}  // namespace foretoken::runtime
