#include "tools/explain/bounds.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>

#include "core/error.hpp"
#include "plan/program/resolve.hpp"
#include "plan/program/work.hpp"
#include "sim/op_duration.hpp"
#include "tools/explain/waits.hpp"

namespace foretoken::explain {
namespace {

enum class Bound : std::uint8_t { memory, flops, kernels, in_node, across_nodes, gaps };
constexpr std::array<const char*, 6> kBoundNames{"memory bandwidth", "peak FLOP/s",  "kernels",
                                                 "in the node",      "across nodes", "gaps"};

class Bounds {
 public:
  Bounds(const Trace& trace, const plan::Plan& plan, const plan::Machine& machine)
      : trace_(trace),
        plan_(plan),
        machine_(machine),
        waits_(trace),
        rows_(plan.placement, plan.routing, plan.scenario.model.experts) {
    for (std::size_t b = 0; b < kBoundNames.size(); ++b) shares_[b].name = kBoundNames[b];
  }

  void add(const PathSegment& segment) {
    if (segment.work == PathWork::gap) return count(Bound::gaps, segment.time());
    if (segment.work == PathWork::communication)
      return count(leaves_node(segment.event) ? Bound::across_nodes : Bound::in_node, segment.time());
    const auto [bound, ideal] = limit_of(segment.event);
    const SimTime within = std::min(ideal, segment.time());
    count(bound, within);
    count(Bound::kernels, segment.time() - within);
  }

  [[nodiscard]] std::vector<PathShare> shares() const {
    std::vector<PathShare> list;
    for (const PathShare& share : shares_)
      if (share.time > SimTime(0)) list.push_back(share);
    std::stable_sort(list.begin(), list.end(), [](const PathShare& a, const PathShare& b) { return a.time > b.time; });
    return list;
  }

 private:
  void count(Bound bound, SimTime time) {
    PathShare& share = shares_[static_cast<std::size_t>(bound)];
    share.time += time;
    if (time > SimTime(0)) ++share.segments;
  }

  // The longer of traffic at the datasheet's bandwidth and FLOPs at its peak.
  [[nodiscard]] std::pair<Bound, SimTime> limit_of(std::size_t event) {
    const RankId rank(trace_.rank[event]);
    const plan::Op& op = plan_.program.role_of(rank).ops[static_cast<std::size_t>(trace_.op[event])];
    if (op.kind == plan::OpKind::input || op.kind == plan::OpKind::step_end) return {Bound::kernels, SimTime(0)};
    std::int64_t rows = 0;
    std::int64_t active_experts = 0;
    const plan::Extent* extent = sim::extent_of(op);
    if (extent != nullptr && extent->kind == plan::Extent::Kind::routed) {
      const auto per_expert = rows_.local_rows(rank, *extent, trace_.step[event] % plan_.routing.routed_steps());
      rows = std::accumulate(per_expert.begin(), per_expert.end(), std::int64_t{0});
      active_experts = std::count_if(per_expert.begin(), per_expert.end(), [](std::int64_t r) { return r > 0; });
    } else if (extent != nullptr) {
      rows = extent->count;
    }
    const plan::Work work = plan::work_of(op, rows, active_experts);
    const SimTime memory = to_sim_time(work.traffic / machine_.device().memory_bandwidth);
    const auto peak = machine_.device().peak(op.dtype);
    const SimTime flops = peak ? to_sim_time(work.flops / *peak) : SimTime(0);
    return flops > memory ? std::pair(Bound::flops, flops) : std::pair(Bound::memory, memory);
  }

  [[nodiscard]] bool leaves_node(std::size_t event) const {
    const std::int32_t rank = trace_.rank[event];
    const std::int32_t known = trace_.last_peer.empty() ? -1 : trace_.last_peer[event];
    bool leaves = false;
    waits_.for_each_peer(rank, trace_.op[event], [&](std::int32_t peer, std::int32_t) {
      if (known >= 0 && peer != known) return;
      leaves = leaves || machine_.node_of(RankId(peer)) != machine_.node_of(RankId(rank));
    });
    return leaves;
  }

  const Trace& trace_;
  const plan::Plan& plan_;
  const plan::Machine& machine_;
  Waits waits_;
  plan::RowCounter rows_;
  std::array<PathShare, kBoundNames.size()> shares_;
};

}  // namespace

std::vector<PathShare> bounds_of(const CriticalPath& path, const Trace& trace, const plan::Plan& plan,
                                 const plan::Machine& machine) {
  FORETOKEN_CHECK(!machine.is_host(), "a host has no datasheet of a device");
  Bounds bounds(trace, plan, machine);
  for (const PathSegment& segment : path.segments) bounds.add(segment);
  return bounds.shares();
}

}  // namespace foretoken::explain
