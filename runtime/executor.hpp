// Interprets the Program of one rank: what runtime does with a Plan.
//
// One thread drives all streams of its rank. A compute op runs to its end; a communication op posts the messages of its
// schedule and is looked after between other ops, so that what stands on another stream goes on meanwhile. A stream
// takes up its next op as soon as that op's dependencies are met, across steps too. A rank that has nothing to do gives
// its core away (Communicator::rest).
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/units.hpp"
#include "plan/plan.hpp"
#include "runtime/communicator.hpp"
#include "runtime/role_streams.hpp"
#include "runtime/row_tables.hpp"
#include "runtime/schedule.hpp"
#include "runtime/stop_vote.hpp"

namespace foretoken::runtime {

/// Carries out compute ops of one rank and knows where its tensors are.
class ComputeSide {
 public:
  ComputeSide() = default;
  ComputeSide(const ComputeSide&) = delete;
  ComputeSide& operator=(const ComputeSide&) = delete;
  virtual ~ComputeSide() = default;
  virtual void run(OpId op, std::int64_t routed_step) = 0;
  /// The bytes of a tensor, for messages. They stay where they are.
  [[nodiscard]] virtual std::span<std::byte> bytes(TensorId tensor) const = 0;
};

/// Where a rank is, for others to read when it no longer answers: step in the high half, op in the low one.
using RankProgress = std::atomic<std::uint64_t>;

struct ExecutorOptions {
  std::chrono::milliseconds step_deadline{30'000};
  RankProgress* progress = nullptr;
  std::function<void(std::int64_t step, const plan::Op& op)> before_op;  // tests make a rank fail here
  StopVote* vote = nullptr;                                              // whether steps are begun; null: all are
};

/// When what happened, by (step, op): element step x ops + op. Picoseconds since the run began, by the rank's own
/// clock.
struct RankEvents {
  std::vector<std::int64_t> posted;
  std::vector<std::int64_t> begun;  // of a communication: its first message has come; all else: posted
  std::vector<std::int64_t> ended;
  std::vector<std::int64_t> cpu;  // picoseconds of this thread's CPU, waits left out
};

class Executor {
 public:
  /// Builds the schedules that are known beforehand. Keeps references to all four; `plan` is the whole one, of which
  /// this rank runs its part.
  Executor(const plan::Plan& plan, RankId rank, RowTables& tables, ComputeSide& compute, Communicator& communicator,
           ExecutorOptions options);

  /// Runs steps 0 to steps - 1, or fewer if the vote says so: `ends` and `events` then hold those alone.
  /// @param events  filled with every op's times, or null: then only the ends of step_end ops are recorded
  /// @param ends    by (step, op) as in RankEvents; -1 where not recorded
  /// @throws Error{rank_failed} if nothing moves for as long as the step deadline, or another rank has failed
  void run(std::int64_t steps, std::vector<std::int64_t>& ends, RankEvents* events);

  /// When the last run began.
  [[nodiscard]] std::chrono::steady_clock::time_point began() const { return began_; }

  /// Where the rank is, for messages: "step 3 at l0.m0.dispatch, waiting for ranks 4 and 7".
  [[nodiscard]] std::string where() const;

 private:
  struct Pending {
    MessageId message = 0;
    RankId peer;
    bool received = false;
  };
  struct StreamState {
    std::int64_t step = 0;
    std::size_t set = 0;
    std::vector<char> taken;   // [block] of the set: run or running
    std::int32_t block = -1;   // running; -1: to be chosen
    std::size_t position = 0;  // in the block
    bool active = false;       // its op, a communication, is under way
    const Schedule* schedule = nullptr;
    Schedule made;  // of an op whose messages are known only now
    std::size_t round = 0;
    std::vector<Pending> pending;
  };

  void prepare();
  void cut_to_steps();
  bool begins(std::int64_t step);
  bool drive(std::size_t stream);
  bool choose_block(std::size_t stream);
  void start(StreamState& state, OpId op);
  bool advance(StreamState& state, OpId op);
  void post_round(StreamState& state, OpId op);
  static void end_round(const Round& round);
  [[nodiscard]] CommunicationBuffers buffers_of(const plan::Op& op) const;
  void finish(StreamState& state, const RoleStream& stream, OpId op);
  bool progress();
  void count_moves();
  [[nodiscard]] bool ready(OpId op, std::int64_t step, std::int64_t* since = nullptr) const;
  [[nodiscard]] OpId current(std::size_t stream) const;
  [[nodiscard]] std::size_t event(std::int64_t step, OpId op) const {
    return static_cast<std::size_t>(step) * role_.ops.size() + op.index();
  }
  [[nodiscard]] std::int64_t now() const;
  [[noreturn]] void stalled() const;

  const plan::Plan& plan_;
  RankId rank_;
  const plan::Role& role_;
  ComputeSide& compute_;
  Communicator& communicator_;
  ExecutorOptions options_;
  std::int64_t routed_steps_;
  ScheduleBuilder builder_;
  std::vector<std::vector<Schedule>> schedules_;  // [op][routed step, or 0]; none where it is made at run time
  std::vector<RoleStream> streams_;

  // Of the run under way.
  std::int64_t steps_ = 0;
  std::int64_t cleared_ = 0;  // steps that may be begun, as far as was asked
  std::vector<StreamState> states_;
  std::vector<std::int64_t> steps_done_;  // [op]: executions that have ended
  std::vector<std::int64_t> order_;       // [op]: place of its last end among all ends, to tell which block came first
  std::int64_t ends_so_far_ = 0;
  std::chrono::steady_clock::time_point began_;
  std::vector<std::int64_t>* ends_ = nullptr;
  RankEvents* events_ = nullptr;
};

}  // namespace foretoken::runtime
