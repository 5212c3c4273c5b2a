// Communication ops from posting to their end: who waits for whom, fixed latencies, and flows over the network.
//
//   collective      begins when all members have posted; latency; one coupled activity; ends for all members together
//   send, recv      begin when both have posted; latency; one flow; end together
//   dispatch,       every message begins when both of its sides have posted; latency; one flow. A rank's op begins with
//   combine         its first message and ends with its last one; without messages it ends when it is posted. Where
//                   they are in rounds, a rank posts each when its messages of the one before have ended
//
// Latencies hold no link. What moves nothing (no bytes, a group of one) takes no time once everybody is there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/provenance.hpp"
#include "core/units.hpp"
#include "plan/program/program.hpp"
#include "plan/program/resolve.hpp"
#include "sim/communication/exchange_pattern.hpp"
#include "sim/communication/fault_timeline.hpp"
#include "sim/communication/meetings.hpp"
#include "sim/communication/transport.hpp"
#include "sim/network/flow_network.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

/// Rows of a dispatch or combine for one instance of its group. The result need not outlive the next call.
using RowsOf =
    std::function<const plan::RoutedRows&(const plan::Communication&, std::int64_t instance, std::int64_t routed_step)>;

/// What a call to the Communicator has led to, for the engine to carry out.
struct CommunicationEffects {
  struct Begun {
    Execution execution;
    Provenance provenance = Provenance::measured;
    Seconds cpu{};
  };
  struct Timer {
    SimTime time;
    std::int32_t batch = 0;
  };
  struct LastPeer {
    Execution execution;
    RankId peer;
  };
  std::vector<Begun> begun;          // now
  std::vector<Execution> ended;      // now
  std::vector<Timer> timers;         // call latency_over(batch) then
  std::vector<LastPeer> last_peers;  // of the dispatches and combines among `ended`: whose message ended last

  [[nodiscard]] bool empty() const { return begun.empty() && ended.empty() && timers.empty() && last_peers.empty(); }
  void clear() {
    begun.clear();
    ended.clear();
    timers.clear();
    last_peers.clear();
  }
};

class Communicator {
 public:
  /// All but `rows` are kept by reference. Step s uses routed step s mod routed_steps. `accuracy` as FlowNetwork's.
  Communicator(const plan::Program& program, const ProgramIndex& index, const Transport& transport, RowsOf rows,
               std::int64_t routed_steps, double accuracy = 0);

  /// A rank's stream has reached a communication op and its dependencies have ended. Each execution is posted once.
  void post(const Execution& execution, SimTime now, CommunicationEffects& effects);

  /// A compute op starts that shares something with others: it ends as an effect of complete().
  /// @param speed  what it advances per second when alone, of the seconds that its estimate takes; > 0
  /// @return a tag for change_speed, valid until the op ends
  std::int32_t start_compute(const Execution& execution, const Estimate& estimate, double speed, SimTime now);
  /// From now on the op advances at another speed when alone.
  void change_speed(std::int32_t tag, const Estimate& estimate, double speed, SimTime now);

  /// The latency of what began together has passed: flows start.
  void latency_over(std::int32_t batch, SimTime now, CommunicationEffects& effects);

  /// A fault takes effect. What is under way over a link that dies goes on over another way with what is left of it;
  /// the latency of its start is not paid again.
  /// @throws Unreachable naming op and step if there is no other way
  void fault(FaultTimeline& timeline, std::size_t index, SimTime now);

  /// Whether whoever has been posted and has not ended waits for others to be posted, and nothing else: no latency and
  /// no flow is under way, and no exchange has had its first message.
  [[nodiscard]] bool is_quiet() const;
  /// While it is quiet: as if those that wait had not been posted.
  void forget_waiting();

  /// When the network next finishes something, to the nearest picosecond; nothing if it is idle or stuck.
  std::optional<SimTime> next_completion();
  /// Finishes what next_completion() announced, now.
  void complete(SimTime now, CommunicationEffects& effects);

  /// What each of the transport's resources has given until `now`, when everything due by then has been carried out.
  std::vector<double> carried(SimTime now) { return network_.carried(to_seconds(now - busy_since_).value()); }

  /// FlowNetwork::error(): of sharing to an accuracy.
  [[nodiscard]] double sharing_error() const { return network_.error(); }

 private:
  struct MeetingState {
    std::int32_t posted = 0;             // participants, of the step that is gathering
    std::optional<Footprint> footprint;  // collectives and transfers; the same in every step
  };
  struct ExchangeState {
    const ExchangePattern* pattern = nullptr;
    std::vector<std::int32_t> posted;         // [participant] rounds
    std::vector<char> begun;                  // [participant]
    std::vector<std::int32_t> left;           // [participant] messages to go
    std::vector<std::int32_t> left_in_round;  // [participant] of those, in the last round posted
    std::int32_t participants_left = 0;       // that have any
    bool any_begun = false;
    std::int32_t batch = -1;  // opened at batch_time for messages of batch_round, still taking them
    SimTime batch_time{-1};
    std::int32_t batch_round = 0;
  };
  // What starts together after one latency; as an activity's tag, a flow of it.
  struct Batch {
    std::int32_t meeting = -1;
    std::int32_t step = 0;
    std::vector<std::int32_t> messages;  // exchanges
  };
  struct Flow {
    std::int32_t meeting = -1;  // -1: compute
    std::int32_t step = 0;
    std::int32_t message = -1;
    Execution execution{};  // compute
    double left = 1;        // of the whole, after new starts on other ways; compute: seconds of its estimate
  };

  void advance_network(SimTime now);
  void post_exchange(const Meetings::Place& place, std::int32_t step, SimTime now, CommunicationEffects& effects);
  /// The participant's next round that has messages.
  void post_round(const Meetings::Place& place, std::int32_t step, ExchangeState& state, SimTime now,
                  CommunicationEffects& effects);
  /// The meeting's, found anew after routes have changed.
  const Footprint& footprint(std::int32_t meeting, std::int32_t step);
  /// What `call` returns; if it finds no way, the error says for what.
  template <class Call>
  decltype(auto) on_behalf_of(std::int32_t meeting, std::int32_t step, Call call) const;
  [[nodiscard]] std::vector<std::int32_t> flows_over(const std::vector<std::int32_t>& resources);
  void forget_routes();
  ActivityStart load_of(const Flow& flow);
  static void begin_all(const Meeting& meeting, std::int32_t step, const Footprint& footprint,
                        CommunicationEffects& effects);
  static void end_all(const Meeting& meeting, std::int32_t step, CommunicationEffects& effects);
  static void begin_participant(const Meeting& meeting, std::int32_t step, ExchangeState& state,
                                std::int32_t participant, CommunicationEffects& effects);
  void end_participant(const Meetings::Place& place, std::int32_t step, ExchangeState& state,
                       CommunicationEffects& effects);
  void start_messages(const Batch& batch);
  void go_on_computing(std::int32_t tag, const Estimate& estimate, double speed);
  const ExchangePattern& pattern(std::int32_t meeting, std::int32_t step);
  ExchangeState& exchange_state(std::int32_t meeting, std::int32_t step);
  std::int32_t new_batch(Batch batch);
  std::int32_t new_flow(Flow flow);
  [[nodiscard]] const plan::Op& op_of(const Participant& participant) const;

  const plan::Program& program_;
  const Transport& transport_;
  RowsOf rows_;
  std::int64_t routed_steps_;
  Meetings meetings_;
  FlowNetwork network_;
  SimTime busy_since_{0};            // the network's time 0: since then something has been under way
  std::vector<MeetingState> state_;  // [meeting]
  std::map<std::pair<std::int32_t, std::int32_t>, ExchangeState> exchanges_;   // by meeting and step, under way
  std::map<std::pair<std::int32_t, std::int64_t>, ExchangePattern> patterns_;  // by meeting and routed step
  std::vector<Batch> batches_;
  std::vector<std::int32_t> free_batches_;
  std::vector<Flow> flows_;
  std::vector<std::int32_t> free_flows_;
  std::vector<ResourceUse> uses_;   // scratch
  std::vector<std::int32_t> tags_;  // scratch
};

}  // namespace foretoken::sim
