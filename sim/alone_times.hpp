// How long an op takes when nobody else is on the machine: no simulation makes it shorter.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/calibration.hpp"
#include "plan/machine/machine.hpp"
#include "plan/plan.hpp"
#include "plan/program/resolve.hpp"
#include "sim/communication/exchange_pattern.hpp"
#include "sim/communication/meetings.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/op_duration.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

/// Of a plan on GPUs without faults, with the same models as simulate() has. Keeps references to all arguments.
///
///   compute        its duration
///   collective     latency, then its bytes over the tightest of its links
///   send, recv     latency, then the message
///   dispatch,      latency, then what this rank sends and receives, over the resource that takes longest for it; from
///   combine        when the others are there, whose bytes are left out
class AloneTimes {
 public:
  AloneTimes(const plan::Plan& plan, const plan::Machine& machine, const Calibration& calibration,
             const std::string& framework);
  ~AloneTimes();
  AloneTimes(const AloneTimes&) = delete;
  AloneTimes& operator=(const AloneTimes&) = delete;

  /// In routed step 0.
  Seconds of(RankId rank, OpId op);

 private:
  struct Network;
  Seconds alone(const Footprint& footprint) const;
  Seconds collective(std::int32_t meeting);
  Seconds exchange(const Meetings::Place& place);

  const plan::Plan& plan_;
  const plan::Machine& machine_;
  plan::RowCounter rows_;
  ComputeCost compute_;
  OpDurations durations_;
  std::unique_ptr<Network> network_;
  std::map<std::int32_t, Seconds> met_;               // by meeting: collectives and transfers
  std::map<std::int32_t, ExchangePattern> patterns_;  // by meeting
};

}  // namespace foretoken::sim
