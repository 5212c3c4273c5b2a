#include "sim/collective/host_alone.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::sim {

HostAlone::HostAlone(const HostTransport& transport, std::int32_t ranks, const AloneOptions& options)
    : transport_(transport), ranks_(ranks), options_(options) {
  FORETOKEN_CHECK(ranks >= 1, "somebody takes part");
}

AloneResult HostAlone::together(std::span<const Footprint> footprints) const {
  AloneResult result;
  FlowSet set;
  set.capacity = transport_.capacities();
  for (const Footprint& footprint : footprints) {
    result.provenance = worst(result.provenance, footprint.provenance);
    const Seconds start = options_.zero_latency ? Seconds(0) : footprint.latency;
    result.time = std::max(result.time, start);
    if (footprint.demand == 0) continue;
    TimedFlow flow;
    flow.start = start.value();
    flow.demand = footprint.demand;
    flow.ceiling = footprint.ceiling;
    flow.uses_begin = static_cast<std::int32_t>(set.uses.size());
    set.uses.insert(set.uses.end(), footprint.uses.begin(), footprint.uses.end());
    flow.uses_end = static_cast<std::int32_t>(set.uses.size());
    set.flows.push_back(flow);
  }
  if (set.flows.empty()) return result;
  const FlowTimes times = run_flows(set, {options_.accuracy, true, options_.seconds_max});
  result.time = std::max(result.time, Seconds(times.completion.last()));
  result.flows = std::ssize(set.flows);
  result.classes = times.classes;
  result.error = times.error;
  return result;
}

AloneResult HostAlone::collective(CollectiveOp op, CollectiveAlgorithm algorithm, Bytes bytes) const {
  std::vector<RankId> members;
  for (std::int32_t rank = 0; rank < ranks_; ++rank) members.emplace_back(rank);
  const Footprint footprint = transport_.collective(op, algorithm, members, bytes);
  return together({&footprint, 1});
}

AloneResult HostAlone::all_to_all(AllToAllAlgorithm algorithm, const TrafficMatrix& matrix) const {
  FORETOKEN_CHECK(matrix.ranks() == ranks_, "the matrix is of these ranks");
  AloneResult result;
  std::vector<Footprint> footprints;
  for (std::int32_t round = 1; round < ranks_; ++round) {
    for (std::int32_t from = 0; from < ranks_; ++from) {
      const std::int32_t to = (from + round) % ranks_;
      if (matrix.at(from, to) > Bytes(0))
        footprints.push_back(transport_.transfer(RankId(from), RankId(to), matrix.at(from, to)));
    }
    if (algorithm == AllToAllAlgorithm::direct && round + 1 < ranks_) continue;
    const AloneResult one = together(footprints);
    footprints.clear();
    result.time += one.time;
    result.flows += one.flows;
    result.classes += one.classes;
    result.error = std::max(result.error, one.error);
    result.provenance = worst(result.provenance, one.provenance);
  }
  return result;
}

AloneResult HostAlone::send_recv(Bytes bytes) const {
  std::vector<Footprint> footprints;
  for (std::int32_t rank = 0; ranks_ > 1 && rank < ranks_; ++rank)
    footprints.push_back(transport_.transfer(RankId(rank), RankId((rank + 1) % ranks_), bytes));
  return together(footprints);
}

}  // namespace foretoken::sim
