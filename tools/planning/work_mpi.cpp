#ifdef FORETOKEN_MPI
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "runtime/host/mpi_check.hpp"
#include "tools/planning/work.hpp"

namespace foretoken::planning {
namespace {

using runtime::host::check_mpi;
using Clock = std::chrono::steady_clock;

constexpr int kResults = 1;                            // worker to rank 0: a result, or nothing: the wish for more
constexpr int kPoints = 2;                             // rank 0 to worker: points; none: wait; kStop: the end
constexpr std::size_t kShare = 4;                      // points at a time: neighbours have plans in common
constexpr std::int64_t kStop = -1;                     // no more points; say goodbye
constexpr std::int64_t kTogether = -2;                 // everyone has, and MPI may end
constexpr std::int64_t kAlone = -3;                    // someone has not: end without MPI
constexpr auto kNap = std::chrono::microseconds(500);  // between two looks for messages
constexpr auto kSign = std::chrono::seconds(5);        // rank 0 says this often that it is there
constexpr auto kSilence = std::chrono::seconds(120);   // after which it is not
constexpr auto kFarewell = std::chrono::seconds(10);   // that the others may take to say that they have heard

/// A point and its result: "12 {...}". Shorter than what MPI sends at once, or the end of a process in the midst of a
/// message could hold up whoever receives it.
std::string packed(std::size_t point, const std::string& result) { return fmt::format("{} {}", point, result); }

/// What nobody has computed yet, and who is at it. Called under a lock.
class Bag {
 public:
  explicit Bag(const std::vector<std::size_t>& points) : waiting_(points.begin(), points.end()), left_(points.size()) {}

  /// For process `who`. When nothing waits any more: what another has had longest.
  std::vector<std::size_t> take(std::int64_t who) {
    std::vector<std::size_t> some;
    while (!waiting_.empty() && some.size() < kShare) {
      const std::size_t point = waiting_.front();
      waiting_.pop_front();
      under_way_.emplace_back(point, std::set<std::int64_t>{who});
      some.push_back(point);
    }
    if (!some.empty()) return some;
    for (auto& [point, owners] : under_way_)
      if (owners.insert(who).second) return {point};
    return {};
  }
  /// Whether it is the first result of the point.
  bool give(std::size_t point) {
    const auto found =
        std::find_if(under_way_.begin(), under_way_.end(), [&](const auto& entry) { return entry.first == point; });
    if (found == under_way_.end()) return false;
    under_way_.erase(found);
    --left_;
    return true;
  }
  [[nodiscard]] bool done() const { return left_ == 0; }

 private:
  std::deque<std::size_t> waiting_;
  std::deque<std::pair<std::size_t, std::set<std::int64_t>>> under_way_;  // in order of handing out
  std::size_t left_;
};

std::string receive_text(int source, int tag) {
  MPI_Status status;
  check_mpi(MPI_Probe(source, tag, MPI_COMM_WORLD, &status), "MPI_Probe");
  int size = 0;
  check_mpi(MPI_Get_count(&status, MPI_CHAR, &size), "MPI_Get_count");
  std::string text(static_cast<std::size_t>(size), ' ');
  check_mpi(MPI_Recv(text.data(), size, MPI_CHAR, source, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
  return text;
}

/// Nothing waits for whom it is sent to, who may be dead.
void send_points(int to, const std::vector<std::int64_t>& points, std::deque<std::vector<std::int64_t>>& kept) {
  kept.push_back(points);
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(MPI_Isend(kept.back().data(), static_cast<int>(points.size()), MPI_INT64_T, to, kPoints, MPI_COMM_WORLD,
                      &request),
            "MPI_Isend");
  check_mpi(MPI_Request_free(&request), "MPI_Request_free");
}

/// Rank 0: a thread computes, this one listens.
class Leader {
 public:
  Leader(const std::vector<std::size_t>& points, std::int64_t ranks, const Compute& compute, const Done& done)
      : bag_(points), ranks_(ranks), compute_(compute), done_(done) {}

  bool lead() {
    std::jthread own([this] { compute_some(); });
    std::set<int> idle;
    Clock::time_point sign = Clock::now();
    while (!finished()) {
      bool moved = false;
      for (auto from = arrived(); from; from = arrived()) {
        if (const std::string text = receive_text(*from, kResults); text.empty()) idle.insert(*from);
        else take_in(text);
        moved = true;
      }
      for (auto who = idle.begin(); who != idle.end();) who = serve(*who) ? idle.erase(who) : std::next(who);
      if (Clock::now() - sign > kSign) {
        for (int rank = 1; rank < ranks_; ++rank) send_points(rank, {}, kept_);
        sign = Clock::now();
      }
      if (!moved) std::this_thread::sleep_for(kNap);
    }
    own.join();
    for (int rank = 1; rank < ranks_; ++rank) send_points(rank, {kStop}, kept_);
    const bool all = hear_farewells(std::move(idle));
    // Where one is missing, MPI_Finalize would wait for it.
    for (int rank = 1; rank < ranks_; ++rank) send_points(rank, {all ? kTogether : kAlone}, kept_);
    if (failure_) std::rethrow_exception(failure_);
    return all;
  }

 private:
  static std::optional<int> arrived() {
    int flag = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kResults, MPI_COMM_WORLD, &flag, &status), "MPI_Iprobe");
    return flag != 0 ? std::optional(status.MPI_SOURCE) : std::nullopt;
  }
  bool finished() {
    const std::lock_guard lock(mutex_);
    return failure_ || bag_.done();
  }
  bool serve(int who) {
    std::vector<std::size_t> points;
    {
      const std::lock_guard lock(mutex_);
      points = bag_.take(who);
    }
    if (points.empty()) return false;
    send_points(who, {points.begin(), points.end()}, kept_);
    return true;
  }
  void take_in(const std::string& text) {
    std::size_t digits = 0;
    const std::size_t point = std::stoull(text, &digits);
    const std::lock_guard lock(mutex_);
    if (bag_.give(point)) done_(point, text.substr(digits + 1));
  }
  void compute_some() {
    try {
      while (!finished()) {
        std::vector<std::size_t> points;
        {
          const std::lock_guard lock(mutex_);
          points = bag_.take(0);
        }
        if (points.empty()) std::this_thread::sleep_for(kNap);
        for (const std::size_t point : points) take_in(packed(point, compute_(point)));
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
  }
  /// Everyone says a last time that it wishes for more, and then hears that this is the end.
  bool hear_farewells(std::set<int> heard) const {
    const auto until = Clock::now() + kFarewell;
    while (static_cast<std::int64_t>(heard.size()) < ranks_ - 1 && Clock::now() < until) {
      if (const auto from = arrived()) {
        if (receive_text(*from, kResults).empty()) heard.insert(*from);
      } else {
        std::this_thread::sleep_for(kNap);
      }
    }
    return static_cast<std::int64_t>(heard.size()) == ranks_ - 1;
  }

  std::mutex mutex_;  // of bag_ and failure_, and around done_
  Bag bag_;
  std::int64_t ranks_;
  const Compute& compute_;
  const Done& done_;
  std::exception_ptr failure_;
  std::deque<std::vector<std::int64_t>> kept_;  // what is being sent
};

std::vector<std::int64_t> receive_points() {
  const auto until = Clock::now() + kSilence;
  int flag = 0;
  MPI_Status status;
  while (flag == 0) {
    check_mpi(MPI_Iprobe(0, kPoints, MPI_COMM_WORLD, &flag, &status), "MPI_Iprobe");
    if (flag != 0) break;
    if (Clock::now() > until)
      throw Error(ErrorCode::rank_failed,
                  "rank 0 of the sweep is not heard of any more; the same command goes on from its --journal");
    std::this_thread::sleep_for(kNap);
  }
  int size = 0;
  check_mpi(MPI_Get_count(&status, MPI_INT64_T, &size), "MPI_Get_count");
  std::vector<std::int64_t> points(static_cast<std::size_t>(size));
  check_mpi(MPI_Recv(points.data(), size, MPI_INT64_T, 0, kPoints, MPI_COMM_WORLD, MPI_STATUS_IGNORE), "MPI_Recv");
  return points;
}

void send_text(const std::string& text) {
  check_mpi(MPI_Send(text.data(), static_cast<int>(text.size()), MPI_CHAR, 0, kResults, MPI_COMM_WORLD), "MPI_Send");
}

/// Whether all processes are there at the end.
bool follow(const Compute& compute) {
  for (;;) {
    send_text("");
    std::vector<std::int64_t> points;
    while (points.empty()) points = receive_points();
    if (points.front() == kTogether || points.front() == kAlone) return points.front() == kTogether;
    if (points.front() == kStop) {
      do points = receive_points();
      while (points.empty() || points.front() == kStop);
      return points.front() == kTogether;
    }
    for (const std::int64_t point : points)
      send_text(packed(static_cast<std::size_t>(point), compute(static_cast<std::size_t>(point))));
  }
}

}  // namespace

bool work_over_mpi(const runtime::MpiProcess& mpi, const std::vector<std::size_t>& points, const Compute& compute,
                   const Done& done) {
  if (mpi.rank() == 0) return Leader(points, mpi.ranks(), compute, done).lead();
  return follow(compute);
}

}  // namespace foretoken::planning
#endif
