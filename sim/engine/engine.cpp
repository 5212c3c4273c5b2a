#include "sim/engine/engine.hpp"

#include <algorithm>
#include <optional>
#include <queue>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/quantity_text.hpp"
#include "plan/program/trace_roles.hpp"
#include "sim/engine/link_sampler.hpp"
#include "sim/engine/role_streams.hpp"
#include "sim/engine/steady_state.hpp"
#include "sim/later.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {
namespace {

constexpr SimTime kNever{-1};

enum class EventKind : std::uint8_t { compute_end, latency_over, launched, fault };

struct Event {
  SimTime time;
  EventKind kind = EventKind::compute_end;
  Execution execution;      // compute_end, launched
  std::int32_t batch = -1;  // latency_over; fault: its number
  auto operator<=>(const Event&) const = default;
};

// One stream of one rank.
struct StreamState {
  std::int32_t step = 0;
  std::int32_t position = 0;              // of the op to be taken up, or under way
  bool busy = false;                      // its op has been posted, or is about to be, and has not ended
  SimTime free_since{0};                  // end of the op before
  SimTime ends = kNever;                  // of its compute op under way, if that is known
  bool waked = false;                     // in the list of streams to look at
  std::int32_t set = -1;                  // arrival set that it is in
  std::int32_t block_end = -1;            // of the block that it is in; -1: to be chosen
  std::vector<std::int32_t> blocks_left;  // of that set, ascending, the current one included
};

class Engine {
 public:
  explicit Engine(const EngineInput& input);
  Trace run();

 private:
  void run_to_the_end();
  void prepare_trace();
  void prepare_links();
  void prepare_steady_state();
  void sample_links(bool must_stay);
  void count_step_end(const Execution& execution);
  void skip_what_recurs();
  void repeat_until(const Recurrence& recurrence, std::size_t stream);
  void repeat(const Execution& execution, const Recurrence& recurrence, const StreamPlace* under_way);
  void resume(const RunState& state);
  void settle();
  void look_at(std::int32_t stream);
  bool choose_block(RankId rank, const RoleStream& stream, StreamState& state);
  void post_when_launched(const Execution& execution, SimTime ready, StreamState& state);
  void post(const Execution& execution);
  void finish(const Execution& execution);
  void go_on(const RoleStream& stream, StreamState& state) const;
  void wake(std::int32_t stream);
  void carry_out_effects();
  void check_finished() const;

  // When everything that the op depends on has ended; nothing before that.
  [[nodiscard]] std::optional<SimTime> ready_time(const Execution& execution) const;
  [[nodiscard]] std::size_t event_of(const Execution& execution) const { return index_.event(execution, steps_); }
  [[nodiscard]] const plan::Op& op_of(const Execution& execution) const {
    return program_.role_of(execution.rank).ops[execution.op.index()];
  }
  [[nodiscard]] const RoleStreams& role_streams(RankId rank) const {
    return role_streams_[static_cast<std::size_t>(program_.role_of_rank[rank.index()])];
  }

  const EngineInput& input_;
  const plan::Program& program_;
  ProgramIndex index_;
  std::int64_t steps_;
  Communicator communicator_;
  CommunicationEffects effects_;
  KernelSharing sharing_;
  std::optional<Launches> launches_;
  std::vector<RoleStreams> role_streams_;     // [role]
  std::vector<std::int32_t> streams_before_;  // [rank] -> first of its streams
  std::vector<RankId> rank_of_stream_;
  std::vector<StreamState> streams_;
  std::vector<std::int32_t> waked_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  SimTime now_{0};
  Trace trace_;
  std::optional<SteadyState> steady_state_;  // as long as it may help

  // What links carry, if it is asked for.
  std::vector<LinkResource> links_;
  std::optional<LinkSampler> sampler_;
  std::int64_t ends_per_step_ = 0;
  std::int64_t warmup_ends_left_ = 0;
  std::int64_t last_ends_left_ = 0;
  bool edge_of_steps_ = false;
};

Engine::Engine(const EngineInput& input)
    : input_(input),
      program_(input.program),
      index_(input.program),
      steps_(input.warmup_steps + input.steps),
      communicator_(program_, index_, input.transport, input.rows, input.routed_steps, input.accuracy),
      sharing_(program_, input.interference, communicator_) {
  if (input.launches) launches_.emplace(program_, *input.launches);
  for (const plan::Role& role : program_.roles) role_streams_.emplace_back(role);
  for (std::int64_t r = 0; r < program_.ranks; ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    streams_before_.push_back(static_cast<std::int32_t>(streams_.size()));
    const std::size_t count = role_streams(rank).streams().size();
    streams_.resize(streams_.size() + count);
    rank_of_stream_.resize(streams_.size(), rank);
  }
  prepare_trace();
  prepare_links();
  prepare_steady_state();
}

void Engine::prepare_trace() {
  trace_.clock = "simulated";
  trace_.ranks = program_.ranks;
  trace_.warmup_steps = input_.warmup_steps;
  trace_.steps = input_.steps;
  trace_.role_of_rank = program_.role_of_rank;
  trace_.roles = plan::trace_roles(program_);
  const auto events = static_cast<std::size_t>(index_.ops() * steps_);
  trace_.rank.reserve(events);
  trace_.op.reserve(events);
  trace_.step.reserve(events);
  for (std::int32_t rank = 0; rank < program_.ranks; ++rank) {
    const auto ops = static_cast<std::int32_t>(index_.ops_of(RankId(rank)));
    for (std::int32_t step = 0; step < steps_; ++step) {
      for (std::int32_t op = 0; op < ops; ++op) {
        trace_.rank.push_back(rank);
        trace_.step.push_back(step);
        trace_.op.push_back(op);
      }
    }
  }
  trace_.posted.assign(events, kNever);
  trace_.begun.assign(events, kNever);
  trace_.ended.assign(events, kNever);
  trace_.provenance.assign(events, Provenance::measured);
  if (input_.transport.has_cpu_times()) trace_.cpu.assign(events, SimTime(0));
  for (const plan::Communication& communication : program_.communications) {
    const bool exchange = is_exchange(communication.kind);
    if (exchange && trace_.last_peer.empty()) trace_.last_peer.assign(events, -1);
  }
}

void Engine::prepare_links() {
  if (input_.link_samples == 0) return;
  links_ = input_.transport.link_resources();
  if (links_.empty()) return;
  const std::vector<double> capacities = input_.transport.capacities();
  std::vector<TraceLinks::Link> links;
  for (const LinkResource& link : links_)
    links.push_back({link.name, link.link_class, BytesPerSecond(capacities[static_cast<std::size_t>(link.resource)])});
  sampler_.emplace(std::move(links), input_.link_samples);
  for (std::int64_t r = 0; r < program_.ranks; ++r) {
    for (const plan::Op& op : program_.role_of(RankId(static_cast<std::int32_t>(r))).ops)
      if (op.kind == plan::OpKind::step_end) ++ends_per_step_;
  }
  warmup_ends_left_ = input_.warmup_steps == 0 ? 0 : ends_per_step_;
  last_ends_left_ = ends_per_step_;
  if (input_.warmup_steps == 0) sample_links(true);
}

// Only of runs whose state a RunState is: launches, kernels that share a GPU, and blocks in order of arrival go by what
// has been, too, faults come once, and what links carry is looked at as it comes.
void Engine::prepare_steady_state() {
  const bool faulty = input_.faults != nullptr && input_.faults->size() > 0;
  if (input_.every_step || launches_ || input_.interference != nullptr || faulty || sampler_) return;
  for (const RoleStreams& role : role_streams_) {
    for (const RoleStream& stream : role.streams())
      if (!stream.sets.empty()) return;
  }
  // Going round once to know, and once more to gain by it.
  if (steps_ > input_.routed_steps + 1 && !streams_.empty()) steady_state_.emplace(input_.routed_steps, steps_);
}

void Engine::sample_links(bool must_stay) {
  const std::vector<double> carried = communicator_.carried(now_);
  std::vector<double> bytes;
  bytes.reserve(links_.size());
  for (const LinkResource& link : links_) bytes.push_back(carried[static_cast<std::size_t>(link.resource)]);
  sampler_->add(now_, bytes, must_stay);
}

// The counted steps begin with the last step_end of the warm-up and end with the last of all.
void Engine::count_step_end(const Execution& execution) {
  if (op_of(execution).kind != plan::OpKind::step_end) return;
  if (execution.step == input_.warmup_steps - 1 && --warmup_ends_left_ == 0) edge_of_steps_ = true;
  if (execution.step == steps_ - 1 && --last_ends_left_ == 0) edge_of_steps_ = true;
}

Trace Engine::run() {
  try {
    run_to_the_end();
  } catch (const Unreachable& error) {
    throw Error(ErrorCode::rank_failed, "at " + to_text(to_seconds(now_)) + ", " + error.what());
  }
  check_finished();
  if (sampler_) trace_.links = sampler_->take();
  trace_.accuracy = input_.accuracy;
  trace_.sharing_error = communicator_.sharing_error();
  return std::move(trace_);
}

void Engine::run_to_the_end() {
  for (std::size_t f = 0; input_.faults != nullptr && f < input_.faults->size(); ++f)
    events_.push({input_.faults->time(f), EventKind::fault, {}, static_cast<std::int32_t>(f)});
  for (std::size_t stream = 0; stream < streams_.size(); ++stream) wake(static_cast<std::int32_t>(stream));
  settle();
  for (;;) {
    std::optional<SimTime> completion = communicator_.next_completion();
    if (!completion && events_.empty()) break;
    if (completion && (events_.empty() || *completion <= events_.top().time)) {
      // A completion may be rounded to just before the event that changed its rate.
      now_ = std::max(now_, *completion);
      // The network keeps unrounded time: all that rounds to this picosecond ends before anything else happens in it,
      // or a timer would move the network past what is due within it.
      do {
        communicator_.complete(now_, effects_);
        carry_out_effects();
        completion = communicator_.next_completion();
      } while (completion && *completion <= now_);
    } else {
      now_ = events_.top().time;
    }
    settle();
    if (sampler_ && (edge_of_steps_ || sampler_->is_due(now_))) {
      sample_links(edge_of_steps_);
      edge_of_steps_ = false;
    }
    if (steady_state_) skip_what_recurs();
  }
}

// Where everything has been in the same state a routed cycle before, the cycle is copied as often as fits.
void Engine::skip_what_recurs() {
  const auto place_of = [&](const StreamState& stream) {
    return StreamPlace{stream.step, stream.position, stream.busy, stream.ends == kNever ? kNever : stream.ends - now_};
  };
  const std::size_t ops = role_streams(RankId(0)).streams().front().ops.size();
  if (!steady_state_->is_due(place_of(streams_.front()), ops) || !communicator_.is_quiet()) return;
  RunState state{now_, {}};
  state.streams.reserve(streams_.size());
  for (const StreamState& stream : streams_) state.streams.push_back(place_of(stream));
  const std::optional<Recurrence> recurrence = steady_state_->add(std::move(state), ops);
  if (!recurrence) return;
  for (std::size_t stream = 0; stream < streams_.size(); ++stream) repeat_until(*recurrence, stream);
  resume(recurrence->state);
  steady_state_.reset();
}

// What the stream does from now on until it is where it is in the state.
void Engine::repeat_until(const Recurrence& recurrence, std::size_t stream) {
  const RankId rank = rank_of_stream_[stream];
  const auto own = stream - static_cast<std::size_t>(streams_before_[rank.index()]);
  const std::vector<OpId>& ops = role_streams(rank).streams()[own].ops;
  const StreamPlace& until = recurrence.state.streams[stream];
  std::int32_t step = streams_[stream].step;
  auto position = static_cast<std::size_t>(streams_[stream].position);
  while (step != until.step || static_cast<std::int32_t>(position) != until.position) {
    repeat({rank, ops[position], step}, recurrence, nullptr);
    if (++position == ops.size()) {
      position = 0;
      ++step;
    }
  }
  if (until.posted) repeat({rank, ops[position], step}, recurrence, &until);
}

// As in the cycle before, as far as it has got if it is under way. What has been posted already stays as it is: who
// waits for others may have begun to wait at another time.
void Engine::repeat(const Execution& execution, const Recurrence& recurrence, const StreamPlace* under_way) {
  const std::size_t to = event_of(execution);
  const std::size_t from =
      event_of({execution.rank, execution.op, execution.step - static_cast<std::int32_t>(recurrence.steps)});
  if (trace_.posted[to] == kNever) trace_.posted[to] = trace_.posted[from] + recurrence.span;
  if (under_way != nullptr && under_way->left == kNever) return;
  trace_.begun[to] = trace_.begun[from] + recurrence.span;
  trace_.provenance[to] = trace_.provenance[from];
  if (!trace_.cpu.empty()) trace_.cpu[to] = trace_.cpu[from];
  if (under_way != nullptr) return;
  FORETOKEN_CHECK(trace_.ended[from] != kNever, "what is repeated has been done before");
  trace_.ended[to] = trace_.ended[from] + recurrence.span;
  if (!trace_.last_peer.empty()) trace_.last_peer[to] = trace_.last_peer[from];
}

void Engine::resume(const RunState& state) {
  now_ = state.time;
  events_ = {};
  communicator_.forget_waiting();
  for (std::size_t stream = 0; stream < streams_.size(); ++stream) {
    const StreamPlace& place = state.streams[stream];
    streams_[stream] = {};
    streams_[stream].step = place.step;
    streams_[stream].position = place.position;
    streams_[stream].busy = place.posted;
    if (!place.posted) continue;
    const RankId rank = rank_of_stream_[stream];
    const auto own = stream - static_cast<std::size_t>(streams_before_[rank.index()]);
    const OpId op = role_streams(rank).streams()[own].ops[static_cast<std::size_t>(place.position)];
    const Execution execution{rank, op, place.step};
    if (place.left == kNever) {
      communicator_.post(execution, now_, effects_);
      continue;
    }
    streams_[stream].ends = now_ + place.left;
    events_.push({streams_[stream].ends, EventKind::compute_end, execution, -1});
  }
  FORETOKEN_CHECK(effects_.empty(), "who waited alone waits alone again");
}

// Everything that happens now, given what has happened already, except in the network.
void Engine::settle() {
  std::vector<std::int32_t> streams;
  do {
    while (!events_.empty() && events_.top().time == now_) {
      const Event event = events_.top();
      events_.pop();
      switch (event.kind) {
        case EventKind::compute_end: finish(event.execution); break;
        case EventKind::latency_over:
          communicator_.latency_over(event.batch, now_, effects_);
          carry_out_effects();
          break;
        case EventKind::launched: post(event.execution); break;
        case EventKind::fault: communicator_.fault(*input_.faults, static_cast<std::size_t>(event.batch), now_); break;
      }
    }
    streams.swap(waked_);
    std::sort(streams.begin(), streams.end());
    for (const std::int32_t stream : streams) {
      streams_[static_cast<std::size_t>(stream)].waked = false;
      look_at(stream);
    }
    streams.clear();
  } while (!waked_.empty() || (!events_.empty() && events_.top().time == now_));
  sharing_.settle(now_);
}

void Engine::wake(std::int32_t stream) {
  StreamState& state = streams_[static_cast<std::size_t>(stream)];
  if (state.waked || state.busy || state.step == steps_) return;
  state.waked = true;
  waked_.push_back(stream);
}

std::optional<SimTime> Engine::ready_time(const Execution& execution) const {
  SimTime ready(0);
  for (const plan::Dependency& dependency : op_of(execution).dependencies) {
    const std::int32_t step = execution.step - dependency.distance;
    if (step < 0) continue;
    const SimTime ended = trace_.ended[event_of({execution.rank, dependency.op, step})];
    if (ended == kNever) return std::nullopt;
    ready = std::max(ready, ended);
  }
  return ready;
}

// Posts the stream's next op if it can be.
void Engine::look_at(std::int32_t stream) {
  StreamState& state = streams_[static_cast<std::size_t>(stream)];
  if (state.busy || state.step == steps_) return;
  const RankId rank = rank_of_stream_[static_cast<std::size_t>(stream)];
  const auto own = static_cast<std::size_t>(stream - streams_before_[rank.index()]);
  const RoleStream& ops = role_streams(rank).streams()[own];
  if (!choose_block(rank, ops, state)) return;
  const Execution execution{rank, ops.ops[static_cast<std::size_t>(state.position)], state.step};
  const auto ready = ready_time(execution);
  if (!ready) return;
  if (launches_) return post_when_launched(execution, std::max(*ready, state.free_since), state);
  state.busy = true;
  post(execution);
}

void Engine::post_when_launched(const Execution& execution, SimTime ready, StreamState& state) {
  const auto at = launches_->posted(execution, ready);
  if (!at) return;
  state.busy = true;
  if (*at <= now_) post(execution);
  else events_.push({*at, EventKind::launched, execution, -1});
}

// In an arrival set, between two blocks: moves to the block that was ready first, if any is ready.
bool Engine::choose_block(RankId rank, const RoleStream& stream, StreamState& state) {
  if (state.set < 0) {
    state.set = stream.set_begun[static_cast<std::size_t>(state.position)];
    if (state.set < 0) return true;
    state.block_end = -1;
    state.blocks_left.resize(stream.sets[static_cast<std::size_t>(state.set)].blocks.size());
    for (std::size_t b = 0; b < state.blocks_left.size(); ++b) state.blocks_left[b] = static_cast<std::int32_t>(b);
  }
  if (state.block_end >= 0) return true;

  const ArrivalSet& set = stream.sets[static_cast<std::size_t>(state.set)];
  std::optional<std::pair<SimTime, std::int32_t>> first;  // ready, block: blocks are in order of chunk
  for (const std::int32_t block : state.blocks_left) {
    const auto begin = static_cast<std::size_t>(set.blocks[static_cast<std::size_t>(block)].begin);
    const auto ready = ready_time({rank, stream.ops[begin], state.step});
    if (ready && (!first || std::pair(*ready, block) < *first)) first = {*ready, block};
  }
  if (!first) return false;
  const Block& chosen = set.blocks[static_cast<std::size_t>(first->second)];
  state.position = chosen.begin;
  state.block_end = chosen.end;
  std::erase(state.blocks_left, first->second);
  return true;
}

void Engine::post(const Execution& execution) {
  const std::size_t event = event_of(execution);
  trace_.posted[event] = now_;
  if (is_communication(op_of(execution).kind)) {
    if (sharing_.shares(execution.rank)) sharing_.communication_posted(execution);
    communicator_.post(execution, now_, effects_);
    carry_out_effects();
    return;
  }
  const Estimate estimate = input_.duration(execution.rank, execution.op, execution.step % input_.routed_steps);
  trace_.begun[event] = now_;
  trace_.provenance[event] = estimate.provenance;
  if (!trace_.cpu.empty()) trace_.cpu[event] = to_sim_time(input_.transport.compute_cpu(estimate));
  if (estimate.crowding > 0 && estimate.time > Seconds(0)) {
    communicator_.start_compute(execution, estimate, 1.0, now_);
    return;
  }
  if (estimate.time > Seconds(0) && sharing_.shares(execution.rank)) {
    sharing_.start_compute(execution, estimate, now_);
    return;
  }
  const SimTime ends = later(now_, estimate.time);
  events_.push({ends, EventKind::compute_end, execution, -1});
  const std::int32_t own = role_streams(execution.rank).stream_of(execution.op);
  streams_[static_cast<std::size_t>(streams_before_[execution.rank.index()] + own)].ends = ends;
}

void Engine::finish(const Execution& execution) {
  const std::size_t event = event_of(execution);
  trace_.ended[event] = now_;
  if (sampler_) count_step_end(execution);
  if (sharing_.shares(execution.rank)) {
    if (is_communication(op_of(execution).kind)) sharing_.communication_ended(execution);
    else
      trace_.provenance[event] = sharing_.compute_ended(execution, trace_.begun[event], now_, trace_.provenance[event]);
  }
  const RoleStreams& streams = role_streams(execution.rank);
  const std::int32_t first = streams_before_[execution.rank.index()];
  const std::int32_t own = streams.stream_of(execution.op);
  StreamState& state = streams_[static_cast<std::size_t>(first + own)];
  state.free_since = now_;
  go_on(streams.streams()[static_cast<std::size_t>(own)], state);
  wake(first + own);
  for (const std::int32_t woken : streams.woken_by(execution.op)) wake(first + woken);
  if (launches_ && launches_->ended(execution, now_)) {
    const auto count = static_cast<std::int32_t>(streams.streams().size());
    for (std::int32_t stream = first; stream < first + count; ++stream) wake(stream);
  }
}

void Engine::go_on(const RoleStream& stream, StreamState& state) const {
  state.busy = false;
  state.ends = kNever;
  ++state.position;
  if (state.set >= 0 && state.position == state.block_end) {
    state.block_end = -1;
    if (state.blocks_left.empty()) {
      state.position = stream.sets[static_cast<std::size_t>(state.set)].end;
      state.set = -1;
    }
  }
  if (state.set < 0 && state.position == static_cast<std::int32_t>(stream.ops.size())) {
    state.position = 0;
    ++state.step;
  }
}

void Engine::carry_out_effects() {
  for (const auto& begun : effects_.begun) {
    const std::size_t event = event_of(begun.execution);
    trace_.begun[event] = now_;
    trace_.provenance[event] = begun.provenance;
    if (!trace_.cpu.empty()) trace_.cpu[event] = to_sim_time(begun.cpu);
  }
  for (const auto& timer : effects_.timers) events_.push({timer.time, EventKind::latency_over, {}, timer.batch});
  for (const auto& last : effects_.last_peers) trace_.last_peer[event_of(last.execution)] = last.peer.value();
  for (const Execution& ended : effects_.ended) finish(ended);
  effects_.clear();
}

void Engine::check_finished() const {
  for (std::size_t s = 0; s < streams_.size(); ++s) {
    const StreamState& state = streams_[s];
    if (state.step == steps_) continue;
    const RankId rank = rank_of_stream_[s];
    const auto own = s - static_cast<std::size_t>(streams_before_[rank.index()]);
    const OpId op = role_streams(rank).streams()[own].ops[static_cast<std::size_t>(state.position)];
    FORETOKEN_CHECK(false, "rank " + std::to_string(rank.value()) + " waits for ever at " +
                               op_of({rank, op, state.step}).name + " of step " + std::to_string(state.step) +
                               (state.busy ? ", which never ended" : ", whose dependencies never ended"));
  }
}

}  // namespace

Trace run_engine(const EngineInput& input) { return Engine(input).run(); }

}  // namespace foretoken::sim
