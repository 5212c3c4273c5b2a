#include "tools/collective/group_times.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "sim/communication/meetings.hpp"

namespace foretoken::collective {
namespace {

struct NameOf {
  const plan::Program& program;
  const plan::Op& op;

  [[nodiscard]] const plan::Communication& communication(CommunicationId id) const {
    return program.communications[id.index()];
  }
  [[nodiscard]] std::string group(CommunicationId id) const {
    const plan::GroupFamily& family = program.groups[communication(id).group.index()];
    return fmt::format("{} of {}", family.name, family.size);
  }
  std::string operator()(const plan::CollectiveOpDetail& detail) const {
    return fmt::format("{}, {}, {} bytes, {}", name_of(op.kind), name_of(communication(detail.communication).algorithm),
                       detail.rows * detail.cols * bytes_per_element(op.dtype), group(detail.communication));
  }
  std::string operator()(const plan::ExchangeOp& detail) const {
    return fmt::format("{}, {}", name_of(op.kind), group(detail.communication));
  }
  std::string operator()(const plan::TransferOp& detail) const {
    return fmt::format("send, {} bytes", detail.rows * detail.cols * bytes_per_element(op.dtype));
  }
  template <class Compute>
  std::string operator()(const Compute&) const {
    return {};
  }
};

// Of one execution: who is there, when the last one came and when the last one went.
struct Execution {
  std::string what;
  std::vector<RankId> ranks;
  SimTime there;
  SimTime through;
};

SimTime median(std::vector<SimTime> times) {
  const auto at = times.begin() + static_cast<std::ptrdiff_t>((times.size() - 1) / 2);
  std::nth_element(times.begin(), at, times.end());
  return *at;
}

}  // namespace

std::vector<GroupTime> group_times(const plan::Plan& plan, const Trace& trace) {
  const plan::Program& program = plan.program;
  std::map<std::tuple<CommunicationId, RankId, std::int32_t>, Execution> executions;
  for (std::size_t event = 0; event < trace.size(); ++event) {
    const RankId rank(trace.rank[event]);
    const plan::Op& op = program.role_of(rank).ops[static_cast<std::size_t>(trace.op[event])];
    if (trace.step[event] < trace.warmup_steps || !is_communication(op.kind)) continue;
    const CommunicationId id = sim::communication_of(op);
    const plan::Communication& communication = program.communications[id.index()];
    const RankId first =
        communication.group.valid() ? program.groups[communication.group.index()].first_of(rank) : RankId(0);
    Execution& one = executions[{id, first, trace.step[event]}];
    if (one.what.empty()) one.what = std::visit(NameOf{program, op}, op.detail);
    one.ranks.push_back(rank);
    one.there = std::max(one.there, trace.posted[event]);
    one.through = std::max(one.through, trace.ended[event]);
  }
  std::map<std::pair<std::string, std::vector<RankId>>, std::vector<SimTime>> times;
  for (auto& [key, one] : executions) {
    std::sort(one.ranks.begin(), one.ranks.end());
    times[{one.what, one.ranks}].push_back(one.through - one.there);
  }
  std::vector<GroupTime> all;
  for (auto& [key, values] : times) all.push_back({key.first, key.second, to_seconds(median(std::move(values)))});
  return all;
}

}  // namespace foretoken::collective
