#include "runtime/host/host_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "plan/program/exchange_slots.hpp"
#include "plan/program/node_rows.hpp"

namespace foretoken::runtime::host {
namespace {

constexpr double kElementBytes = 4;

// Tensors, each for itself, and of each stream the op whose messages need most room beside them.
double bytes_of(const plan::Plan& plan, const plan::Role& role) {
  double bytes = 0;
  for (const plan::Tensor& tensor : role.tensors)
    if (tensor.rows.kind == plan::Extent::Kind::fixed)
      bytes += static_cast<double>(tensor.stack) * static_cast<double>(tensor.rows.count) *
               static_cast<double>(tensor.cols) * kElementBytes;
  std::map<plan::Stream, double> staged;
  for (const plan::Op& op : role.ops)
    staged[op.stream] = std::max(staged[op.stream], plan::staged_bytes(role, op, plan.scenario, plan.placement));
  for (const auto& entry : staged) bytes += entry.second;
  return bytes;
}

// What may be allocated without swapping; without such a figure, no limit.
double available_bytes() {
  std::ifstream info("/proc/meminfo");
  for (std::string key, rest; info >> key && std::getline(info, rest);)
    if (key == "MemAvailable:") return std::stod(rest) * 1024;
  return std::numeric_limits<double>::infinity();
}

// Of one exchange of a layer, micro-batch and chunk.
using ExchangePlace = std::tuple<std::int16_t, std::int16_t, std::int16_t>;

// What the dispatch and the combine of a place have in a row together, in bytes, by the ops of an expert group's ranks.
std::map<ExchangePlace, double> row_bytes_of(const plan::Plan& plan, std::int64_t instance) {
  std::map<std::pair<ExchangePlace, plan::OpKind>, double> of_kind;
  const std::int64_t ep = plan.scenario.deployment.ep;
  for (std::int64_t i = 0; i < ep; ++i)
    for (const plan::Op& op : plan.program.role_of(RankId(static_cast<std::int32_t>(instance * ep + i))).ops)
      if (op.kind == plan::OpKind::dispatch || op.kind == plan::OpKind::combine)
        of_kind[{{op.layer, op.micro_batch, op.chunk}, op.kind}] =
            static_cast<double>(std::get<plan::ExchangeOp>(op.detail).cols) * kElementBytes;
  std::map<ExchangePlace, double> together;
  for (const auto& [key, bytes] : of_kind) together[key.first] += bytes;
  return together;
}

}  // namespace

// A hop is a row that its sender keeps, as leaving or as passed on, and one that its receiver keeps.
std::vector<double> rows_on_their_way_bytes(const plan::Plan& plan) {
  std::vector<double> bytes(static_cast<std::size_t>(plan.program.ranks), 0);
  if (!plan::sends_once_per_node(plan)) return bytes;
  const std::int64_t ep = plan.scenario.deployment.ep;
  plan::NodeWays ways(plan);
  std::vector<std::int32_t> experts(static_cast<std::size_t>(plan.scenario.model.top_k));
  for (std::int64_t instance = 0; instance < plan.program.ranks / ep; ++instance)
    for (const auto& [place, row_bytes] : row_bytes_of(plan, instance)) {
      const auto [layer, micro_batch, chunk] = place;
      ways.enter(instance, layer);
      const plan::Range sources = chunk < 0 ? plan::Range{0, ep} : plan.placement.chunk_sources(chunk);
      for (std::int64_t source = sources.begin; source < sources.end; ++source) {
        const RankId rank(static_cast<std::int32_t>(instance * ep + source));
        const plan::Range tokens =
            plan.placement.slice(plan.placement.replica_of(rank), micro_batch, plan.placement.tp_index_of(rank));
        for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step)
          for (std::int64_t token = tokens.begin; token < tokens.end; ++token) {
            plan.routing.experts_of(step, layer, token, experts);
            for (const plan::Hop& hop : ways.hops(static_cast<std::int32_t>(source), experts))
              for (const std::int32_t end : {hop.from, hop.to})
                bytes[static_cast<std::size_t>(instance * ep + end)] += row_bytes;
          }
      }
    }
  return bytes;
}

void check_host_memory(const plan::Plan& plan, std::span<const RankId> ranks_here) {
  std::vector<double> of_role;
  for (const plan::Role& role : plan.program.roles) of_role.push_back(bytes_of(plan, role));
  double needed = 0;
  for (const RankId rank : ranks_here)
    needed += of_role[static_cast<std::size_t>(plan.program.role_of_rank[rank.index()])];
  const double available = available_bytes();
  // Tokens are counted one by one: not where there are too many to run anyway.
  if (needed <= available) {
    const std::vector<double> on_their_way = rows_on_their_way_bytes(plan);
    for (const RankId rank : ranks_here) needed += on_their_way[rank.index()];
  }
  if (needed <= available) return;
  throw Error(ErrorCode::infeasible,
              fmt::format("{}: the {} ranks on this machine need {:.1f} GB for their tensors and messages, and {:.1f} "
                          "GB are available; "
                          "run fewer ranks on it, or lower workload.sequences, workload.context or the model",
                          plan.scenario.name, ranks_here.size(), needed / 1e9, available / 1e9));
}

}  // namespace foretoken::runtime::host
