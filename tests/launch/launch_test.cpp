// The jobs that `foretoken launch` writes: shell that bash accepts, and an MPIJob with what the operator needs.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tests/scratch_folder.hpp"
#include "tools/cli/cli.hpp"
#include "tools/launch/job.hpp"

namespace foretoken::launch {
namespace {

using Json = nlohmann::json;
using test::Answer;
using test::shell;
using testing::HasSubstr;
using testing::Not;

Answer foretoken(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "launch");
  return test::foretoken_cli(arguments);
}

std::filesystem::path scratch(const std::string& name) { return test::scratch_folder() / name; }

std::filesystem::path stored(const std::string& text, const std::string& name = "job.sh") {
  const auto path = scratch(name);
  std::ofstream(path) << text;
  return path;
}

const std::vector<std::string> kScenarios{"scenarios/paper/large-ep64.json", "scenarios/paper/baseline-tp8-pp2.json",
                                          "scenarios/laptop/large-ep-r4.json"};
// What --set may hold, and a shell must not touch.
const std::vector<std::string> kNasty{"--set", "name=it's \"$(touch harm)\" `x` \\ ; & | * ?"};

TEST(Launch, ScriptsAreShell) {
  for (const std::string& scenario : kScenarios)
    for (const char* who : {"--slurm", "--mpirun"}) {
      const Answer answer = foretoken({scenario, who, kNasty[0], kNasty[1]});
      ASSERT_EQ(answer.code, 0) << answer.err;
      EXPECT_EQ(shell("bash -n " + stored(answer.out).string()), 0) << scenario << " " << who;
    }
}

TEST(Launch, SlurmGetsTheRanksOfTheTopology) {
  const Answer answer = foretoken({"scenarios/paper/large-ep64.json", "--slurm", "--time", "7"});
  for (const char* line :
       {"#SBATCH --nodes=8\n", "#SBATCH --ntasks=64\n", "#SBATCH --ntasks-per-node=8\n", "#SBATCH --gpus-per-node=8\n",
        "#SBATCH --time=7\n", "srun --mpi=pmix", "run scenarios/paper/large-ep64.json --out"})
    EXPECT_THAT(answer.out, HasSubstr(line));
  // Directives count only before the first command.
  EXPECT_LT(answer.out.rfind("#SBATCH"), answer.out.find("set -euo"));
}

TEST(Launch, CpusNeedNoGpus) {
  const Answer answer = foretoken({"scenarios/laptop/large-ep-r4.json", "--slurm"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("#SBATCH --ntasks=4\n"));
  EXPECT_THAT(answer.out, Not(HasSubstr("gpu")));
  EXPECT_THAT(answer.out, Not(HasSubstr("nvidia")));
}

// The mpirun script is run, with an mpirun that tells what it was given.
TEST(Launch, MpirunIsGivenHostsRanksAndTheScenario) {
  const Answer answer = foretoken({"scenarios/paper/baseline-tp8-pp2.json", "--mpirun", kNasty[0], kNasty[1]});
  const auto script = stored(answer.out);
  const auto fake = stored(
      "#!/bin/bash\n[ \"$1\" = --version ] && { echo \"mpirun (Open MPI) 4\"; exit; }\n"
      "printf '%s\\n' \"$@\"\n",
      "mpirun");
  std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
  const auto hosts = stored("# two nodes\na\nb\n", "hosts");
  const auto run = [&](const std::string& argument) {
    return shell(fmt::format("PATH={}:$PATH bash {} {} > {} 2>&1", fake.parent_path().string(), script.string(),
                             argument, scratch("said").string()));
  };
  const auto said = [&] {
    std::ostringstream text;
    text << std::ifstream(scratch("said")).rdbuf();
    return text.str();
  };
  EXPECT_EQ(run(hosts.string()), 0) << said();
  EXPECT_THAT(said(), HasSubstr("-n\n16\n--map-by\nppr:8:node\n--hostfile\n" + hosts.string() +
                                "\nforetoken\nrun\nscenarios/paper/baseline-tp8-pp2.json\n--set\n" + kNasty[1] + "\n"));
  EXPECT_FALSE(std::filesystem::exists("harm"));
  EXPECT_NE(run(""), 0);
  EXPECT_THAT(said(), HasSubstr("give a file with the name of a host on each line"));
  EXPECT_NE(run(stored("a\n", "one").string()), 0);
  EXPECT_THAT(said(), HasSubstr("1 hosts, and the scenario needs 2"));
}

TEST(Launch, KubernetesGetsAnMpiJob) {
  const Answer answer = foretoken({"scenarios/paper/large-ep64.json", "--k8s", "--image", "registry/foretoken:1",
                                   "--directory", "/opt/foretoken", kNasty[0], kNasty[1]});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json job = Json::parse(answer.out);
  EXPECT_EQ(job.at("apiVersion"), "kubeflow.org/v2beta1");
  EXPECT_EQ(job.at("kind"), "MPIJob");
  EXPECT_THAT(job.at("metadata").at("name").get<std::string>(), testing::MatchesRegex("[a-z][-a-z0-9]*[a-z0-9]"));
  const Json& spec = job.at("spec");
  EXPECT_EQ(spec.at("slotsPerWorker"), 8);
  EXPECT_EQ(spec.at("runPolicy").at("activeDeadlineSeconds"), 900);
  const Json& launcher = spec.at("mpiReplicaSpecs").at("Launcher");
  const Json& worker = spec.at("mpiReplicaSpecs").at("Worker");
  EXPECT_EQ(launcher.at("replicas"), 1);
  EXPECT_EQ(worker.at("replicas"), 8);
  const Json& pod = worker.at("template").at("spec");
  const Json& container = pod.at("containers").at(0);
  EXPECT_EQ(container.at("resources").at("limits").at("nvidia.com/gpu"), 8);
  EXPECT_EQ(container.at("image"), "registry/foretoken:1");
  EXPECT_EQ(container.at("volumeMounts").at(0).at("name"), pod.at("volumes").at(0).at("name"));
  EXPECT_EQ(pod.at("affinity")
                .at("podAntiAffinity")
                .at("requiredDuringSchedulingIgnoredDuringExecution")
                .at(0)
                .at("labelSelector")
                .at("matchLabels"),
            worker.at("template").at("metadata").at("labels"));
  const Json& first = launcher.at("template").at("spec").at("containers").at(0);
  EXPECT_EQ(first.at("workingDir"), "/opt/foretoken");
  const std::vector<std::string> command = first.at("command");
  EXPECT_THAT(command, testing::IsSupersetOf({std::string("64"), std::string("ppr:8:node"), kNasty[1]}));
  EXPECT_EQ(job.at("spec").at("mpiReplicaSpecs").size(), 2u);
}

TEST(Launch, SaysWhatIsMissing) {
  const std::string scenario = "scenarios/paper/large-ep64.json";
  const auto refused = [&](std::vector<std::string> arguments, const char* why) {
    const Answer answer = foretoken(std::move(arguments));
    EXPECT_EQ(answer.code, 2);
    EXPECT_THAT(answer.err, HasSubstr(why));
  };
  refused({scenario}, "give one of --slurm, --mpirun and --k8s");
  refused({scenario, "--slurm", "--k8s"}, "give one of --slurm, --mpirun and --k8s");
  refused({scenario, "--k8s"}, "name a container image");
  refused({scenario, scenario, "--slurm"}, "write one job at a time");
  refused({"scenarios/lab/large-ep-2x8.json", "--mpirun"}, "emulated");
  refused({scenario, "--slurm", "--time", "0"}, "--time");
}

TEST(Launch, NamesBecomeLabels) {
  EXPECT_EQ(label_of("large-ep64"), "large-ep64");
  EXPECT_EQ(label_of("EP 64 (H100)"), "ep-64-h100");
  EXPECT_EQ(label_of("64 ranks"), "s64-ranks");
  EXPECT_EQ(label_of("…"), "s");
  EXPECT_EQ(label_of(std::string(80, 'a')).size(), 50u);
}

}  // namespace
}  // namespace foretoken::launch
