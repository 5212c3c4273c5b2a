#include "runtime/executor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "runtime/thread_clock.hpp"

namespace foretoken::runtime {
namespace {

using std::chrono::steady_clock;

}  // namespace

Executor::Executor(const plan::Plan& plan, RankId rank, RowTables& tables, ComputeSide& compute,
                   Communicator& communicator, ExecutorOptions options)
    : plan_(plan),
      rank_(rank),
      role_(plan.program.role_of(rank)),
      compute_(compute),
      communicator_(communicator),
      options_(std::move(options)),
      routed_steps_(plan.routing.routed_steps()),
      builder_(plan, rank, tables),
      schedules_(role_.ops.size()),
      streams_(streams_of(role_)) {
  for (std::size_t o = 0; o < role_.ops.size(); ++o) {
    const plan::Op& op = role_.ops[o];
    if (!is_communication(op.kind) || builder_.at_run_time(op)) continue;
    for (std::int64_t step = 0; step < (is_exchange(op.kind) ? routed_steps_ : 1); ++step)
      schedules_[o].push_back(builder_.build(op, buffers_of(op), step));
  }
}

CommunicationBuffers Executor::buffers_of(const plan::Op& op) const {
  CommunicationBuffers buffers;
  if (!op.inputs.empty()) buffers.in = compute_.bytes(op.inputs.front());
  if (!op.outputs.empty()) buffers.out = compute_.bytes(op.outputs.front());
  if (op.inputs.size() > 1) buffers.in_weights = compute_.bytes(op.inputs[1]);
  if (op.outputs.size() > 1) buffers.out_weights = compute_.bytes(op.outputs[1]);
  return buffers;
}

void Executor::prepare() {
  states_.assign(streams_.size(), StreamState{});
  for (std::size_t s = 0; s < streams_.size(); ++s) states_[s].taken.assign(streams_[s].sets.front().blocks.size(), 0);
  steps_done_.assign(role_.ops.size(), 0);
  order_.assign(role_.ops.size(), 0);
  ends_so_far_ = 0;
  cleared_ = options_.vote == nullptr ? steps_ : 0;
  const std::size_t executions = static_cast<std::size_t>(steps_) * role_.ops.size();
  ends_->assign(executions, -1);
  if (events_ == nullptr) return;
  events_->posted.assign(executions, -1);
  events_->begun.assign(executions, -1);
  events_->ended.assign(executions, -1);
  events_->cpu.assign(executions, 0);
}

std::int64_t Executor::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - began_).count() * 1'000;
}

void Executor::run(std::int64_t steps, std::vector<std::int64_t>& ends, RankEvents* events) {
  steps_ = steps;
  ends_ = &ends;
  events_ = events;
  prepare();
  communicator_.time_moves(events != nullptr);
  began_ = steady_clock::now();
  auto moved_last = began_;
  const auto running = [&](const StreamState& state) { return state.step < steps_; };
  while (std::any_of(states_.begin(), states_.end(), running)) {
    bool moved = false;
    for (std::size_t s = 0; s < streams_.size(); ++s) moved = drive(s) || moved;
    if (progress() || moved) {
      moved_last = steady_clock::now();
      continue;
    }
    if (steady_clock::now() - moved_last > options_.step_deadline) stalled();
    communicator_.rest(kPatience);
    count_moves();
  }
  if (steps_ < steps) cut_to_steps();
}

void Executor::cut_to_steps() {
  const std::size_t executions = static_cast<std::size_t>(steps_) * role_.ops.size();
  ends_->resize(executions);
  if (events_ == nullptr) return;
  for (auto* times : {&events_->posted, &events_->begun, &events_->ended, &events_->cpu}) times->resize(executions);
}

// A stream has come to a step that none has begun. If it may not be, no stream is or comes further.
bool Executor::begins(std::int64_t step) {
  if (step < cleared_) return true;
  const StepAnswer answer = options_.vote->may_begin(step);
  if (answer == StepAnswer::yes) ++cleared_;
  if (answer == StepAnswer::no) steps_ = step;
  return answer == StepAnswer::yes;
}

bool Executor::progress() {
  const bool happened = communicator_.progress();
  count_moves();
  if (happened && options_.vote != nullptr) options_.vote->look();
  return happened;
}

// Moving bytes is work of the communication that waits for them: of the first, where there are several.
void Executor::count_moves() {
  if (events_ == nullptr) return;
  const std::int64_t spent = communicator_.moving_cpu();
  if (spent == 0) return;
  for (std::size_t s = 0; s < streams_.size(); ++s) {
    if (!states_[s].active) continue;
    events_->cpu[event(states_[s].step, current(s))] += spent;
    return;
  }
}

OpId Executor::current(std::size_t stream) const {
  const StreamState& state = states_[stream];
  return streams_[stream].sets[state.set].blocks[static_cast<std::size_t>(state.block)][state.position];
}

// Do what this stream can do now; true if that was anything.
bool Executor::drive(std::size_t stream) {
  StreamState& state = states_[stream];
  if (state.step == steps_) return false;
  if (!begins(state.step)) return state.step == steps_;
  if (state.active) {
    const OpId op = current(stream);
    if (!advance(state, op)) return false;
    if (!state.active) finish(state, streams_[stream], op);
    return true;
  }
  if (state.block < 0 && !choose_block(stream)) return false;
  const OpId op = current(stream);
  if (!ready(op, state.step)) return false;
  start(state, op);
  if (!state.active) finish(state, streams_[stream], op);
  return true;
}

// Of the blocks that are left in the set the one whose first op was ready first, if any is.
bool Executor::choose_block(std::size_t stream) {
  StreamState& state = states_[stream];
  const std::vector<OpBlock>& blocks = streams_[stream].sets[state.set].blocks;
  std::int64_t earliest = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    std::int64_t since = 0;
    if (state.taken[b] != 0) continue;
    if (blocks.size() > 1 && !ready(blocks[b].front(), state.step, &since)) continue;
    if (state.block >= 0 && since >= earliest) continue;
    earliest = since;
    state.block = static_cast<std::int32_t>(b);
  }
  if (state.block < 0) return false;
  state.taken[static_cast<std::size_t>(state.block)] = 1;
  state.position = 0;
  return true;
}

bool Executor::ready(OpId op, std::int64_t step, std::int64_t* since) const {
  for (const plan::Dependency& dependency : role_.ops[op.index()].dependencies) {
    const std::size_t on = dependency.op.index();
    if (steps_done_[on] < step - dependency.distance + 1) return false;
    if (since != nullptr) *since = std::max(*since, order_[on]);
  }
  return true;
}

void Executor::start(StreamState& state, OpId op) {
  const plan::Op& what = role_.ops[op.index()];
  if (options_.progress != nullptr)
    options_.progress->store(static_cast<std::uint64_t>(state.step) << 32U | static_cast<std::uint64_t>(op.index()),
                             std::memory_order_relaxed);
  if (options_.before_op) options_.before_op(state.step, what);
  const std::int64_t routed_step = state.step % routed_steps_;
  std::int64_t cpu = 0;
  if (events_ != nullptr) {
    events_->posted[event(state.step, op)] = now();
    cpu = thread_cpu_now();
  }
  if (is_communication(what.kind)) {
    const auto& schedules = schedules_[op.index()];
    if (schedules.empty()) {
      builder_.recycle(state.made);
      state.made = builder_.build(what, buffers_of(what), routed_step);
      state.schedule = &state.made;
    } else {
      state.schedule = &schedules[schedules.size() == 1 ? 0 : static_cast<std::size_t>(routed_step)];
    }
    state.active = true;
    state.round = 0;
    carry_out(state.schedule->before);
    post_round(state, op);
  } else {
    compute_.run(op, routed_step);
  }
  if (events_ != nullptr) {
    events_->cpu[event(state.step, op)] += thread_cpu_now() - cpu;
    if (!state.active) events_->begun[event(state.step, op)] = events_->posted[event(state.step, op)];
  }
}

// Posts the round that the stream has come to; rounds without messages are over at once.
void Executor::post_round(StreamState& state, OpId op) {
  const CommunicationId id = std::visit(
      [](const auto& detail) -> CommunicationId {
        if constexpr (requires { detail.communication; }) return detail.communication;
        else return {};
      },
      role_.ops[op.index()].detail);
  for (; state.round < state.schedule->rounds.size(); ++state.round) {
    const Round& round = state.schedule->rounds[state.round];
    // Receives first, so that what comes finds its place.
    for (const Message& m : round.receives)
      state.pending.push_back({communicator_.receive(m.peer, id, {m.data, m.bytes}), m.peer, true});
    for (const Message& m : round.sends)
      state.pending.push_back({communicator_.send(m.peer, id, {m.data, m.bytes}), m.peer, false});
    if (!state.pending.empty()) return;
    end_round(round);
  }
  state.active = false;
}

void Executor::end_round(const Round& round) {
  if (round.arrived) round.arrived();
  carry_out(round.work);
}

// Takes note of messages that are done; true if the op has moved on.
bool Executor::advance(StreamState& state, OpId op) {
  bool arrived = false;
  const std::size_t before = state.pending.size();
  std::erase_if(state.pending, [&](const Pending& pending) {
    const bool done = communicator_.done(pending.message);
    arrived = arrived || (done && pending.received);
    return done;
  });
  if (events_ != nullptr && arrived) {
    std::int64_t& begun = events_->begun[event(state.step, op)];
    if (begun < 0) begun = now();
  }
  if (!state.pending.empty()) return state.pending.size() < before;
  const std::int64_t cpu = events_ == nullptr ? 0 : thread_cpu_now();
  end_round(state.schedule->rounds[state.round]);
  ++state.round;
  post_round(state, op);
  if (events_ != nullptr) events_->cpu[event(state.step, op)] += thread_cpu_now() - cpu;
  return true;
}

void Executor::finish(StreamState& state, const RoleStream& stream, OpId op) {
  ++steps_done_[op.index()];
  order_[op.index()] = ++ends_so_far_;
  const std::size_t which = event(state.step, op);
  if (events_ != nullptr) {
    events_->ended[which] = now();
    // A communication that only sends, or has nothing to move, does not see its peers come.
    if (events_->begun[which] < 0) events_->begun[which] = events_->posted[which];
  }
  if (role_.ops[op.index()].kind == plan::OpKind::step_end) (*ends_)[which] = events_ ? events_->ended[which] : now();

  const BlockSet& set = stream.sets[state.set];
  if (++state.position < set.blocks[static_cast<std::size_t>(state.block)].size()) return;
  state.block = -1;
  state.position = 0;
  if (std::find(state.taken.begin(), state.taken.end(), 0) != state.taken.end()) return;
  if (++state.set == stream.sets.size()) {
    state.set = 0;
    ++state.step;
  }
  state.taken.assign(stream.sets[state.set].blocks.size(), 0);
}

std::string Executor::where() const {
  std::string text;
  for (std::size_t s = 0; s < states_.size(); ++s) {
    const StreamState& state = states_[s];
    if (state.step == steps_ || state.block < 0) continue;
    std::set<std::int32_t> peers;
    for (const Pending& pending : state.pending) peers.insert(pending.peer.value());
    // A stream that waits for another stream of its rank explains nothing, unless all do.
    if (peers.empty() && !text.empty()) continue;
    if (!text.empty()) text += ", and ";
    text += fmt::format("step {} at {}", state.step, role_.ops[current(s).index()].name);
    if (!peers.empty())
      text += fmt::format(", waiting for rank{} {}", peers.size() == 1 ? "" : "s", fmt::join(peers, ", "));
  }
  return text.empty() ? "between two steps" : text;
}

void Executor::stalled() const {
  throw Error(ErrorCode::rank_failed,
              fmt::format("nothing has moved for {:.1f} s: {}",
                          std::chrono::duration<double>(options_.step_deadline).count(), where()));
}

}  // namespace foretoken::runtime
