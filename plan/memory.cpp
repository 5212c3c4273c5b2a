#include "plan/memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "plan/program/exchange_slots.hpp"

namespace foretoken::plan {
namespace {

// Rows of a routed extent on this role's ranks if every expert got the same share of the group's tokens.
double balanced_rows(const Extent& extent, const Role& role, const Scenario& scenario, const Placement& placement) {
  const DeploymentSpec& deployment = scenario.deployment;
  const RankId rank = role.ranks.front();
  const auto local = static_cast<double>(placement.experts_on(extent.layer, placement.ep_index_of(rank)).size());
  const bool dispatch = deployment.exchange == ExpertExchange::dispatch;
  const std::int64_t replicas = dispatch ? deployment.ep / deployment.tp : 1;
  const double tokens = static_cast<double>(placement.sequences(0, extent.micro_batch).size()) *
                        static_cast<double>(replicas) / static_cast<double>(extent.chunk < 0 ? 1 : deployment.chunks);
  return std::ceil(tokens * static_cast<double>(scenario.model.top_k) * local /
                   static_cast<double>(scenario.model.experts));
}

std::string gigabytes(double bytes) { return fmt::format("{:.2f} GB", bytes / 1e9); }

}  // namespace

MemoryUse memory_of(const Role& role, const Scenario& scenario, const Placement& placement) {
  MemoryUse use;
  std::vector<double> size(role.tensors.size());
  for (std::size_t i = 0; i < role.tensors.size(); ++i) {
    const Tensor& tensor = role.tensors[i];
    const double rows = tensor.rows.kind == Extent::Kind::fixed ? static_cast<double>(tensor.rows.count)
                                                                : balanced_rows(tensor.rows, role, scenario, placement);
    size[i] = static_cast<double>(tensor.stack) * rows * static_cast<double>(tensor.cols) *
              bits_per_weight(tensor.packing, tensor.dtype) / 8;
    if (tensor.kind == TensorKind::weight) use.weights += size[i];
    if (tensor.kind == TensorKind::kv_cache) use.kv_cache += size[i];
  }
  // Activations live from the op that writes them to the last that reads them, in program order.
  std::vector<std::size_t> last_use(role.tensors.size(), 0);
  for (std::size_t i = 0; i < role.ops.size(); ++i) {
    for (const TensorId input : role.ops[i].inputs) last_use[input.index()] = i;
    for (const TensorId output : role.ops[i].outputs) last_use[output.index()] = i;
  }
  double live = 0;
  for (std::size_t i = 0; i < role.ops.size(); ++i) {
    const auto is_live = [&](TensorId id) { return role.tensors[id.index()].kind == TensorKind::activation; };
    for (const TensorId output : role.ops[i].outputs)
      if (is_live(output)) live += size[output.index()];
    use.activations = std::max(use.activations, live + staged_bytes(role, role.ops[i], scenario, placement));
    std::vector<TensorId> used = role.ops[i].inputs;
    used.insert(used.end(), role.ops[i].outputs.begin(), role.ops[i].outputs.end());
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
    for (const TensorId id : used)
      if (is_live(id) && last_use[id.index()] == i) live -= size[id.index()];
  }
  return use;
}

std::string memory_table(const Program& program, const std::vector<MemoryUse>& use, Bytes device_memory) {
  std::string table = fmt::format("{:<24} {:>8} {:>14} {:>14} {:>14} {:>14} {:>14}\n", "role", "ranks", "weights",
                                  "KV cache", "activations", "total", "device");
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    table += fmt::format("{:<24} {:>8} {:>14} {:>14} {:>14} {:>14} {:>14}\n", program.roles[r].name,
                         program.roles[r].ranks.size(), gigabytes(use[r].weights), gigabytes(use[r].kv_cache),
                         gigabytes(use[r].activations), gigabytes(use[r].total()),
                         gigabytes(static_cast<double>(device_memory.value())));
  }
  return table;
}

void check_memory(const Program& program, const Scenario& scenario, const Placement& placement,
                  const std::string& device, Bytes device_memory) {
  std::vector<MemoryUse> use;
  double most = 0;
  for (const Role& role : program.roles) {
    use.push_back(memory_of(role, scenario, placement));
    most = std::max(most, use.back().total());
  }
  if (most <= static_cast<double>(device_memory.value())) return;
  throw Error(
      ErrorCode::infeasible,
      fmt::format("{}the scenario does not fit: a rank needs {} and {} has {}\n{}"
                  "spread weights over more ranks (deployment.experts.ep, attention.tp, pipeline.stages), or lower "
                  "workload.sequences or workload.context",
                  scenario.file.empty() ? std::string() : scenario.file + ": ", gigabytes(most), device,
                  gigabytes(static_cast<double>(device_memory.value())), memory_table(program, use, device_memory)));
}

}  // namespace foretoken::plan
