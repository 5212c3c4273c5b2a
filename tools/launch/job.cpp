#include "tools/launch/job.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.hpp"

namespace foretoken::launch {
namespace {

using Json = nlohmann::ordered_json;

// What follows the program's name.
std::vector<std::string> arguments_of(const Job& job) {
  std::vector<std::string> arguments{"run", job.scenario.string()};
  if (!job.topology.empty()) arguments.insert(arguments.end(), {"--topology", job.topology.string()});
  for (const std::string& one : job.overrides) arguments.insert(arguments.end(), {"--set", one});
  return arguments;
}

std::string command_of(const Job& job) {
  std::vector<std::string> words;
  for (const std::string& argument : arguments_of(job)) words.push_back(shell_word(argument));
  return fmt::format("\"$FORETOKEN\" {} --out \"$RESULT\" ${{RUN_OPTIONS:-}}", fmt::join(words, " "));
}

// A line of a comment: a name cannot end it early.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, ' ');
  return text;
}

std::string head(const Job& job) {
  return fmt::format("# {}: {} ranks on {} node{}, {} on each\n", one_line(job.name), job.ranks, job.nodes,
                     job.nodes == 1 ? "" : "s", job.ranks_per_node);
}

// Fewer GPUs than ranks would otherwise be noticed by one rank in the middle of the others.
std::string gpu_check(const Job& job) {
  return fmt::format(
      R"('found=$(nvidia-smi -L 2>/dev/null | grep -c ^GPU); [ "$found" -ge {0} ] || {{ echo "$(hostname): $found GPUs, and the scenario needs {0} on a node" >&2; exit 2; }}')",
      job.ranks_per_node);
}

constexpr const char* kSettings = R"(set -euo pipefail
FORETOKEN=${FORETOKEN:-foretoken}
RESULT=${RESULT:-)";

}  // namespace

std::string shell_word(const std::string& text) {
  const auto plain = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("-_./,:+=@%").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) return text;
  std::string word = "'";
  for (const char c : text) {
    if (c == '\'') word += "'\\''";
    else word += c;
  }
  return word + "'";
}

std::string label_of(const std::string& name) {
  constexpr std::size_t length_max = 50;
  std::string label;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (c >= 'A' && c <= 'Z') label += static_cast<char>(c - 'A' + 'a');
    else if (digit || (c >= 'a' && c <= 'z')) label += c;
    else if (!label.empty() && label.back() != '-') label += '-';
  }
  if (label.empty() || label.front() < 'a') label.insert(0, "s");
  label.resize(std::min(label.size(), length_max));
  while (label.back() == '-') label.pop_back();
  return label;
}

std::string slurm_script(const Job& job) {
  const std::string label = label_of(job.name);
  std::string text = "#!/bin/bash\n" + head(job);
  text += fmt::format("#SBATCH --job-name=foretoken-{}\n", label);
  text += fmt::format("#SBATCH --nodes={}\n#SBATCH --ntasks={}\n#SBATCH --ntasks-per-node={}\n", job.nodes, job.ranks,
                      job.ranks_per_node);
  if (job.gpus) text += fmt::format("#SBATCH --gpus-per-node={}\n", job.ranks_per_node);
  else text += "#SBATCH --cpus-per-task=1\n";
  text +=
      fmt::format("#SBATCH --exclusive\n#SBATCH --time={}\n#SBATCH --output=foretoken-{}-%j.log\n", job.minutes, label);
  text += fmt::format("{}foretoken-{}-$SLURM_JOB_ID.json}}\n", kSettings, label);
  if (job.gpus) text += fmt::format("srun --ntasks={0} --ntasks-per-node=1 bash -c {1}\n", job.nodes, gpu_check(job));
  // All GPUs of a node are seen by all its ranks: each takes the one of its own local rank.
  text += fmt::format("exec srun --mpi=pmix --kill-on-bad-exit=1 ${{SRUN_OPTIONS:-}} {}\n", command_of(job));
  return text;
}

std::string mpirun_script(const Job& job) {
  const std::string label = label_of(job.name);
  std::string text = "#!/usr/bin/env bash\n" + head(job);
  const bool several = job.nodes > 1;
  text +=
      several ? "# Usage: bash SCRIPT HOSTFILE, a file with a host's name on each line\n" : "# Usage: bash SCRIPT\n";
  text += fmt::format("{}foretoken-{}.json}}\n", kSettings, label);
  if (several) {
    text += fmt::format(
        "HOSTFILE=${{1:?give a file with the name of a host on each line}}\n"
        "hosts=$(grep -cv -e '^[[:space:]]*$' -e '^#' \"$HOSTFILE\")\n"
        "[ \"$hosts\" -ge {0} ] || {{ echo \"$HOSTFILE: $hosts hosts, and the scenario needs {0}\" >&2; exit 2; }}\n",
        job.nodes);
  }
  if (job.gpus && !several) text += fmt::format("bash -c {}\n", gpu_check(job));
  text += "if mpirun --version 2>&1 | grep -q 'Open MPI'; then\n";
  text += fmt::format("  placing=(-n {} --map-by ppr:{}:node{})\n", job.ranks, job.ranks_per_node,
                      several ? " --hostfile \"$HOSTFILE\"" : "");
  text += "else\n";
  text +=
      fmt::format("  placing=(-n {} -ppn {}{})\n", job.ranks, job.ranks_per_node, several ? " -f \"$HOSTFILE\"" : "");
  text += fmt::format("fi\nexec mpirun \"${{placing[@]}}\" ${{MPIRUN_OPTIONS:-}} {}\n", command_of(job));
  return text;
}

std::string k8s_job(const Job& job) {
  if (job.image.empty())
    throw input_error("--image", "", "is not given", "name a container image with foretoken, mpirun and sshd in it");
  const std::string name = "foretoken-" + label_of(job.name);
  Json command = Json::array({"mpirun", "--allow-run-as-root", "-n", fmt::format("{}", job.ranks), "--map-by",
                              fmt::format("ppr:{}:node", job.ranks_per_node), "foretoken"});
  for (const std::string& argument : arguments_of(job)) command.push_back(argument);
  command.push_back("--json");
  Json launcher{{"name", "launcher"}, {"image", job.image}, {"command", std::move(command)}};
  Json worker{{"name", "worker"}, {"image", job.image}};
  if (!job.directory.empty()) launcher["workingDir"] = worker["workingDir"] = job.directory;
  const std::int64_t each = job.ranks_per_node;
  if (job.gpus) {
    worker["resources"] = {{"limits", {{"nvidia.com/gpu", each}}}};
    // Ranks of one node exchange by shared memory; the default of 64 MiB is too little for NCCL.
    worker["volumeMounts"] = Json::array({{{"name", "shared-memory"}, {"mountPath", "/dev/shm"}}});
  } else {
    worker["resources"] = {{"limits", {{"cpu", each}}}};
  }
  Json worker_pod{{"containers", Json::array({std::move(worker)})}};
  if (job.gpus)
    worker_pod["volumes"] = Json::array({{{"name", "shared-memory"}, {"emptyDir", {{"medium", "Memory"}}}}});
  // No two workers on one node.
  worker_pod["affinity"] = {{"podAntiAffinity",
                             {{"requiredDuringSchedulingIgnoredDuringExecution",
                               Json::array({{{"labelSelector", {{"matchLabels", {{"foretoken-job", name}}}}},
                                             {"topologyKey", "kubernetes.io/hostname"}}})}}}};
  const Json json{
      {"apiVersion", "kubeflow.org/v2beta1"},
      {"kind", "MPIJob"},
      {"metadata", {{"name", name}}},
      {"spec",
       {{"slotsPerWorker", each},
        {"runPolicy", {{"cleanPodPolicy", "Running"}, {"activeDeadlineSeconds", job.minutes * 60}}},
        {"mpiReplicaSpecs",
         {{"Launcher",
           {{"replicas", 1},
            {"restartPolicy", "Never"},
            {"template", {{"spec", {{"containers", Json::array({std::move(launcher)})}}}}}}},
          {"Worker",
           {{"replicas", job.nodes},
            {"restartPolicy", "Never"},
            {"template",
             {{"metadata", {{"labels", {{"foretoken-job", name}}}}}, {"spec", std::move(worker_pod)}}}}}}}}}};
  return json.dump(2) + "\n";
}

}  // namespace foretoken::launch
