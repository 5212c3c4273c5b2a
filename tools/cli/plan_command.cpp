#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "plan/memory.hpp"
#include "plan/program/text.hpp"
#include "plan/program/wire_rows.hpp"
#include "runtime/recording/check_recording.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/exchange_volume.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

std::string volume_text(const plan::Plan& plan) {
  const auto volume = plan::summary_volume(plan);
  if (!volume) return "";
  return fmt::format("  dispatch and combine {}\n", text_of(*volume, plan.scenario));
}

nlohmann::ordered_json plan_json(const Loaded& loaded, const std::vector<plan::MemoryUse>& memory) {
  const plan::Program& program = loaded.plan.program;
  nlohmann::ordered_json roles = nlohmann::ordered_json::array();
  for (std::size_t r = 0; r < program.roles.size(); ++r) {
    const plan::Role& role = program.roles[r];
    roles.push_back({{"name", role.name},
                     {"ranks", role.ranks.size()},
                     {"ops", role.ops.size()},
                     {"memory_bytes",
                      {{"weights", memory[r].weights},
                       {"kv_cache", memory[r].kv_cache},
                       {"activations", memory[r].activations},
                       {"total", memory[r].total()}}}});
  }
  nlohmann::ordered_json json{{"schema_version", 1},
                              {"kind", "plan"},
                              {"scenario", loaded.scenario.name},
                              {"plan_hash", loaded.plan.plan_hash},
                              {"program_hash", loaded.plan.program_hash},
                              {"routing_hash", loaded.plan.routing_hash},
                              {"seed", loaded.scenario.routing.seed},
                              {"ranks", program.ranks},
                              {"tokens_per_step", program.tokens},
                              {"communications", program.communications.size()},
                              {"device", loaded.machine.device().name},
                              {"device_memory_bytes", loaded.machine.device().memory.value()},
                              {"roles", roles}};
  if (const auto volume = plan::summary_volume(loaded.plan)) json["exchange_bytes_per_step"] = json_of(*volume);
  return json;
}

nlohmann::ordered_json nccl_json(const runtime::RecordingVerdict& verdict) {
  return {
      {"passed", verdict.passed()},   {"communicators", verdict.communicators}, {"collectives", verdict.collectives},
      {"messages", verdict.messages}, {"one_at_a_time", verdict.one_at_a_time}, {"problems", verdict.problems}};
}

std::string nccl_text(const runtime::RecordingVerdict& verdict, const plan::Program& program) {
  std::string text = fmt::format("  NCCL: {} ranks, {} communicators, {} collectives, {} messages: ", program.ranks,
                                 verdict.communicators, verdict.collectives, verdict.messages);
  if (verdict.passed())
    return text + (verdict.one_at_a_time
                       ? "all match, and no deadlock is possible, even one communication at a time\n"
                       : "all match, and no deadlock is possible as long as a rank's streams communicate at once\n");
  text += "they do not fit together\n";
  for (const std::string& problem : verdict.problems) text += "    " + problem + "\n";
  return text;
}

std::string size_of(const plan::Machine& machine) {
  return machine.is_host() ? fmt::format("{} cores", machine.cores_per_node())
                           : fmt::format("{} nodes, {} GPUs", machine.nodes(), machine.gpus());
}

std::string plan_summary(const Loaded& loaded, const std::vector<plan::MemoryUse>& memory) {
  const plan::Program& program = loaded.plan.program;
  std::size_t ops = 0;
  for (const plan::Role& role : program.roles) ops += role.ops.size();
  return fmt::format(
             "{}\n"
             "  plan {}  (program {}, routing {}, seed {})\n"
             "  {} ranks on {} ({}), {} tokens per step\n"
             "  {} roles, {} ops, {} communications\n{}\n",
             loaded.scenario.name, loaded.plan.plan_hash, loaded.plan.program_hash, loaded.plan.routing_hash,
             loaded.scenario.routing.seed, program.ranks, loaded.machine.name(), size_of(loaded.machine),
             program.tokens, program.roles.size(), ops, program.communications.size(), volume_text(loaded.plan)) +
         plan::memory_table(program, memory, loaded.machine.device().memory);
}

}  // namespace

void run_plan(const PlanOptions& options, std::ostream& out) {
  check_out(options);
  std::string text;
  auto list = nlohmann::ordered_json::array();
  std::vector<std::string> failed;
  for (const auto& scenario : options.scenarios) {
    const Loaded loaded = load(scenario, options);
    std::vector<plan::MemoryUse> memory;
    for (const plan::Role& role : loaded.plan.program.roles)
      memory.push_back(plan::memory_of(role, loaded.scenario, loaded.plan.placement));
    std::optional<runtime::RecordingVerdict> nccl;
    if (options.check_nccl) nccl = runtime::check_recording(loaded.plan, runtime::record(loaded.plan));
    if (nccl && !nccl->passed()) failed.push_back(loaded.scenario.name);
    if (options.json) {
      list.push_back(plan_json(loaded, memory));
      if (nccl) list.back()["nccl"] = nccl_json(*nccl);
      continue;
    }
    if (options.text) text += plan::to_text(loaded.plan.program);
    else text += plan_summary(loaded, memory);
    if (nccl) text += nccl_text(*nccl, loaded.plan.program);
  }
  if (options.json) text = (list.size() == 1 ? list.front() : list).dump(2) + "\n";
  if (!options.out.empty()) write_file(options.out, text);
  out << text;
  if (!failed.empty())
    throw Error(ErrorCode::gate_failed,
                fmt::format("the calls of NCCL do not fit together: {}", fmt::join(failed, ", ")));
}

}  // namespace foretoken::cli
