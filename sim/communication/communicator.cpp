#include "sim/communication/communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.hpp"
#include "sim/communication/meeting_footprint.hpp"
#include "sim/later.hpp"

namespace foretoken::sim {
Communicator::Communicator(const plan::Program& program, const ProgramIndex& index, const Transport& transport,
                           RowsOf rows, std::int64_t routed_steps, double accuracy)
    : program_(program),
      transport_(transport),
      rows_(std::move(rows)),
      routed_steps_(routed_steps),
      meetings_(program, index),
      network_(transport.capacities(), accuracy),
      state_(meetings_.size()) {}

const plan::Op& Communicator::op_of(const Participant& participant) const {
  return program_.role_of(participant.rank).ops[participant.op.index()];
}

void Communicator::post(const Execution& execution, SimTime now, CommunicationEffects& effects) {
  const Meetings::Place place = meetings_.place_of(execution.rank, execution.op);
  FORETOKEN_CHECK(place.meeting >= 0, "not a communication op");
  const Meeting& meeting = meetings_[place.meeting];
  const plan::OpKind kind = program_.communications[meeting.communication.index()].kind;
  if (is_exchange(kind)) {
    post_exchange(place, execution.step, now, effects);
    return;
  }

  // Members of a collective end together, so no one posts the next step's before all have posted this one's.
  MeetingState& state = state_[static_cast<std::size_t>(place.meeting)];
  if (++state.posted < static_cast<std::int32_t>(meeting.participants.size())) return;
  state.posted = 0;
  const Footprint& load = footprint(place.meeting, execution.step);
  begin_all(meeting, execution.step, load, effects);
  if (load.demand == 0 && load.latency == Seconds(0.0)) {
    end_all(meeting, execution.step, effects);
    return;
  }
  effects.timers.push_back({later(now, load.latency), new_batch({place.meeting, execution.step, {}})});
}

template <class Call>
decltype(auto) Communicator::on_behalf_of(std::int32_t meeting, std::int32_t step, Call call) const {
  try {
    return call();
  } catch (const Unreachable& error) {
    throw Unreachable(
        fmt::format("{} of step {}: {}", op_of(meetings_[meeting].participants.front()).name, step, error.what()));
  }
}

const Footprint& Communicator::footprint(std::int32_t meeting, std::int32_t step) {
  std::optional<Footprint>& known = state_[static_cast<std::size_t>(meeting)].footprint;
  if (!known)
    known = on_behalf_of(meeting, step, [&] { return footprint_of(program_, meetings_[meeting], transport_); });
  return *known;
}

// What a flow puts on the network, all of its demand; without its tag. The uses are valid until the next call.
ActivityStart Communicator::load_of(const Flow& flow) {
  if (flow.message < 0) {
    const Footprint& load = footprint(flow.meeting, flow.step);
    return {load.demand, 1.0, load.ceiling, load.uses, 0};
  }
  const ExchangePattern& pattern = *exchange_state(flow.meeting, flow.step).pattern;
  const auto& participants = meetings_[flow.meeting].participants;
  const ExchangeMessage& message = pattern.message(flow.message);
  const RankId from = participants[static_cast<std::size_t>(message.from)].rank;
  const RankId to = participants[static_cast<std::size_t>(message.to)].rank;
  const MessageLoad load = on_behalf_of(
      flow.meeting, flow.step, [&] { return transport_.message(pattern.op(), from, to, message.bytes, uses_); });
  return {load.demand * pattern.stretch(), 1.0, load.ceiling, uses_, 0};
}

// Routes stay what they are until a link of theirs dies, so a flow under way uses what it would use if it started now.
std::vector<std::int32_t> Communicator::flows_over(const std::vector<std::int32_t>& resources) {
  std::vector<std::int32_t> found;
  if (resources.empty()) return found;
  for (std::size_t tag = 0; tag < flows_.size(); ++tag) {
    if (flows_[tag].meeting < 0) continue;
    const auto uses = load_of(flows_[tag]).uses;
    if (std::any_of(uses.begin(), uses.end(), [&](const ResourceUse& use) {
          return std::binary_search(resources.begin(), resources.end(), use.resource);
        }))
      found.push_back(static_cast<std::int32_t>(tag));
  }
  return found;
}

void Communicator::forget_routes() {
  for (MeetingState& state : state_) state.footprint.reset();
  std::erase_if(patterns_, [&](const auto& entry) {
    return std::none_of(exchanges_.begin(), exchanges_.end(),
                        [&](const auto& exchange) { return exchange.second.pattern == &entry.second; });
  });
}

// The network's clock restarts whenever it is idle: rounding errors of its times, and thus what takes how many
// picoseconds, do not depend on how late it is.
void Communicator::advance_network(SimTime now) {
  if (network_.active() > 0) {
    network_.advance(to_seconds(now - busy_since_).value());
    return;
  }
  network_.restart_clock();
  busy_since_ = now;
}

void Communicator::fault(FaultTimeline& timeline, std::size_t index, SimTime now) {
  advance_network(now);
  const std::vector<std::int32_t> dying = timeline.dying(index);
  const std::vector<std::int32_t> moved = flows_over(dying);
  for (const CapacityChange& change : timeline.carry_out(index))
    network_.set_capacity(change.resource, change.capacity);
  if (!dying.empty()) forget_routes();
  for (const std::int32_t tag : moved) {
    Flow& flow = flows_[static_cast<std::size_t>(tag)];
    ActivityStart start = load_of(flow);
    flow.left *= network_.withdraw(tag);
    start.demand *= flow.left;
    start.tag = tag;
    network_.start(start);
  }
}

void Communicator::begin_all(const Meeting& meeting, std::int32_t step, const Footprint& footprint,
                             CommunicationEffects& effects) {
  for (const Participant& p : meeting.participants)
    effects.begun.push_back({{p.rank, p.op, step}, footprint.provenance, footprint.cpu});
}

void Communicator::end_all(const Meeting& meeting, std::int32_t step, CommunicationEffects& effects) {
  for (const Participant& p : meeting.participants) effects.ended.push_back({p.rank, p.op, step});
}

const ExchangePattern& Communicator::pattern(std::int32_t meeting, std::int32_t step) {
  const std::int64_t routed_step = step % routed_steps_;
  auto pattern = patterns_.find({meeting, routed_step});
  if (pattern == patterns_.end()) {
    const Meeting& who = meetings_[meeting];
    const plan::RoutedRows& rows = rows_(program_.communications[who.communication.index()], who.instance, routed_step);
    pattern = on_behalf_of(meeting, step, [&] {
      return patterns_.try_emplace({meeting, routed_step}, program_, transport_, who, rows).first;
    });
  }
  return pattern->second;
}

Communicator::ExchangeState& Communicator::exchange_state(std::int32_t meeting, std::int32_t step) {
  const auto [entry, is_new] = exchanges_.try_emplace({meeting, step});
  ExchangeState& state = entry->second;
  if (!is_new) return state;

  state.pattern = &pattern(meeting, step);
  const std::size_t participants = meetings_[meeting].participants.size();
  state.posted.assign(participants, 0);
  state.begun.assign(participants, 0);
  state.left.resize(participants);
  state.left_in_round.assign(participants, 0);
  for (std::size_t p = 0; p < participants; ++p) {
    state.left[p] = static_cast<std::int32_t>(state.pattern->messages_of(static_cast<std::int32_t>(p)).size());
    if (state.left[p] > 0) ++state.participants_left;
  }
  return state;
}

bool Communicator::is_quiet() const {
  return network_.active() == 0 && free_batches_.size() == batches_.size() &&
         std::none_of(exchanges_.begin(), exchanges_.end(), [](const auto& entry) { return entry.second.any_begun; });
}

void Communicator::forget_waiting() {
  FORETOKEN_CHECK(is_quiet(), "who has begun cannot be forgotten");
  for (MeetingState& state : state_) state.posted = 0;
  exchanges_.clear();
}

void Communicator::begin_participant(const Meeting& meeting, std::int32_t step, ExchangeState& state,
                                     std::int32_t participant, CommunicationEffects& effects) {
  char& begun = state.begun[static_cast<std::size_t>(participant)];
  if (begun != 0) return;
  begun = 1;
  state.any_begun = true;
  const Participant& p = meeting.participants[static_cast<std::size_t>(participant)];
  effects.begun.push_back({{p.rank, p.op, step}, state.pattern->provenance(), state.pattern->cpu(participant)});
}

void Communicator::end_participant(const Meetings::Place& place, std::int32_t step, ExchangeState& state,
                                   CommunicationEffects& effects) {
  const Participant& p = meetings_[place.meeting].participants[static_cast<std::size_t>(place.participant)];
  effects.ended.push_back({p.rank, p.op, step});
  if (--state.participants_left == 0) exchanges_.erase({place.meeting, step});
}

void Communicator::post_exchange(const Meetings::Place& place, std::int32_t step, SimTime now,
                                 CommunicationEffects& effects) {
  const Meeting& meeting = meetings_[place.meeting];
  const ExchangePattern& traffic = pattern(place.meeting, step);
  if (traffic.messages_of(place.participant).empty()) {
    const Participant& p = meeting.participants[static_cast<std::size_t>(place.participant)];
    effects.begun.push_back({{p.rank, p.op, step}, traffic.provenance(), traffic.cpu(place.participant)});
    effects.ended.push_back({p.rank, p.op, step});
    return;
  }
  post_round(place, step, exchange_state(place.meeting, step), now, effects);
}

void Communicator::post_round(const Meetings::Place& place, std::int32_t step, ExchangeState& state, SimTime now,
                              CommunicationEffects& effects) {
  const Meeting& meeting = meetings_[place.meeting];
  std::int32_t& posted = state.posted[static_cast<std::size_t>(place.participant)];
  std::int32_t& left = state.left_in_round[static_cast<std::size_t>(place.participant)];
  const auto messages = state.pattern->messages_of(place.participant);
  std::int32_t round = 0;
  for (left = 0; left == 0;) {
    FORETOKEN_CHECK(posted < state.pattern->rounds(), "a round after the last one");
    round = posted++;
    for (const std::int32_t m : messages) left += state.pattern->message(m).round == round ? 1 : 0;
  }
  for (const std::int32_t m : messages) {
    const ExchangeMessage& message = state.pattern->message(m);
    const std::int32_t peer = message.from == place.participant ? message.to : message.from;
    if (message.round != round || state.posted[static_cast<std::size_t>(peer)] <= round) continue;
    begin_participant(meeting, step, state, place.participant, effects);
    begin_participant(meeting, step, state, peer, effects);
    // Ranks that post at one instant start their messages as one batch: one event and one solve.
    if (state.batch < 0 || state.batch_time != now || state.batch_round != round) {
      state.batch = new_batch({place.meeting, step, {}});
      state.batch_time = now;
      state.batch_round = round;
      effects.timers.push_back({later(now, state.pattern->latency(round)), state.batch});
    }
    batches_[static_cast<std::size_t>(state.batch)].messages.push_back(m);
  }
}

void Communicator::latency_over(std::int32_t batch, SimTime now, CommunicationEffects& effects) {
  Batch& started = batches_[static_cast<std::size_t>(batch)];
  advance_network(now);
  if (started.messages.empty()) {
    const Flow flow{started.meeting, started.step, -1};
    if (footprint(started.meeting, started.step).demand == 0) {
      end_all(meetings_[started.meeting], started.step, effects);
    } else {
      ActivityStart start = load_of(flow);
      start.tag = new_flow(flow);
      network_.start(start);
    }
  } else {
    start_messages(started);
    // The batch may take messages no longer: its number is about to be used again.
    ExchangeState& state = exchange_state(started.meeting, started.step);
    if (state.batch == batch) state.batch = -1;
  }
  started.messages.clear();
  free_batches_.push_back(batch);
}

void Communicator::start_messages(const Batch& batch) {
  for (const std::int32_t m : batch.messages) {
    const Flow flow{batch.meeting, batch.step, m};
    ActivityStart start = load_of(flow);
    start.tag = new_flow(flow);
    network_.start(start);
  }
}

std::int32_t Communicator::start_compute(const Execution& execution, const Estimate& estimate, double speed,
                                         SimTime now) {
  advance_network(now);
  const std::int32_t tag = new_flow({-1, 0, -1, execution, estimate.time.value()});
  go_on_computing(tag, estimate, speed);
  return tag;
}

void Communicator::change_speed(std::int32_t tag, const Estimate& estimate, double speed, SimTime now) {
  advance_network(now);
  // What rounding has left nothing of still ends in its turn, with the next completions.
  flows_[static_cast<std::size_t>(tag)].left *= std::max(network_.withdraw(tag), 1e-12);
  go_on_computing(tag, estimate, speed);
}

void Communicator::go_on_computing(std::int32_t tag, const Estimate& estimate, double speed) {
  const Flow& flow = flows_[static_cast<std::size_t>(tag)];
  const double weight = transport_.compute_uses(flow.execution.rank, estimate, uses_);
  network_.start({flow.left, weight, speed, uses_, tag});
}

std::optional<SimTime> Communicator::next_completion() {
  const double time = network_.next_completion();
  if (!std::isfinite(time)) return std::nullopt;
  return later(busy_since_, Seconds(time));
}

void Communicator::complete(SimTime now, CommunicationEffects& effects) {
  tags_.clear();
  network_.complete(tags_);
  for (const std::int32_t tag : tags_) {
    const Flow flow = std::exchange(flows_[static_cast<std::size_t>(tag)], Flow{});
    free_flows_.push_back(tag);
    if (flow.meeting < 0) {
      effects.ended.push_back(flow.execution);
      continue;
    }
    if (flow.message < 0) {
      end_all(meetings_[flow.meeting], flow.step, effects);
      continue;
    }
    ExchangeState& state = exchange_state(flow.meeting, flow.step);
    const ExchangeMessage& message = state.pattern->message(flow.message);
    // The last participant to end takes the state with it; only one message can be the last, and `to` is its last side.
    const auto& participants = meetings_[flow.meeting].participants;
    const auto one_less = [&](std::int32_t participant, std::int32_t peer) {
      const bool round_over = --state.left_in_round[static_cast<std::size_t>(participant)] == 0;
      if (--state.left[static_cast<std::size_t>(participant)] != 0) {
        if (round_over) post_round({flow.meeting, participant}, flow.step, state, now, effects);
        return;
      }
      const Participant& p = participants[static_cast<std::size_t>(participant)];
      effects.last_peers.push_back({{p.rank, p.op, flow.step}, participants[static_cast<std::size_t>(peer)].rank});
      end_participant({flow.meeting, participant}, flow.step, state, effects);
    };
    const bool in_place = message.from == message.to;
    const std::int32_t from = message.from;
    const std::int32_t to = message.to;
    one_less(from, to);
    if (!in_place) one_less(to, from);
  }
}

std::int32_t Communicator::new_batch(Batch batch) {
  if (free_batches_.empty()) {
    batches_.push_back(std::move(batch));
    return static_cast<std::int32_t>(batches_.size() - 1);
  }
  const std::int32_t reused = free_batches_.back();
  free_batches_.pop_back();
  batches_[static_cast<std::size_t>(reused)] = std::move(batch);
  return reused;
}

std::int32_t Communicator::new_flow(Flow flow) {
  if (free_flows_.empty()) {
    flows_.push_back(flow);
    return static_cast<std::int32_t>(flows_.size() - 1);
  }
  const std::int32_t reused = free_flows_.back();
  free_flows_.pop_back();
  flows_[static_cast<std::size_t>(reused)] = flow;
  return reused;
}

}  // namespace foretoken::sim
