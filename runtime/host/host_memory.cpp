#include "runtime/host/host_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/program/exchange_slots.hpp"

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

}  // namespace

void check_host_memory(const plan::Plan& plan, std::span<const RankId> ranks_here) {
  std::vector<double> of_role;
  for (const plan::Role& role : plan.program.roles) of_role.push_back(bytes_of(plan, role));
  double needed = 0;
  for (const RankId rank : ranks_here)
    needed += of_role[static_cast<std::size_t>(plan.program.role_of_rank[rank.index()])];
  const double available = available_bytes();
  if (needed <= available) return;
  throw Error(
      ErrorCode::infeasible,
      fmt::format("{}: the {} ranks on this machine need {:.1f} GB for their tensors, and {:.1f} GB are available; "
                  "run fewer ranks on it, or lower workload.sequences, workload.context or the model",
                  plan.scenario.name, ranks_here.size(), needed / 1e9, available / 1e9));
}

}  // namespace foretoken::runtime::host
