// foretoken sweep, whatif and recommend through the command line: the same table however it was computed, after a kill,
// and with a process lost; and what they say of bad input.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;
using test::shell;
using test::shell_line;
using test::text_of;

class Planning : public testing::Test {
 protected:
  Planning() : folder(fs::temp_directory_path() / fmt::format("foretoken_planning_test_{}", ::getpid())) {
    fs::create_directories(folder);
  }
  ~Planning() override { fs::remove_all(folder); }
  [[nodiscard]] std::string file(const char* name) const { return (folder / name).string(); }

  fs::path folder;
};

// 16 GPUs of the paper's series; few layers and steps, for speed.
const std::vector<std::string> kSmall{"scenarios/paper/scaling-ep16.json", "--set", "model.layers=2", "--set",
                                      "measure.warmup_steps=1"};

std::vector<std::string> small(const char* command, const std::vector<std::string>& more) {
  std::vector<std::string> arguments{command};
  arguments.insert(arguments.end(), kSmall.begin(), kSmall.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Json checked(const char* schema_name, const Answer& answer) {
  Json json = Json::parse(answer.out);
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", schema_name}).out));
  EXPECT_THAT(schema.check(json), IsEmpty());
  return json;
}

// ---- sweep ---------------------------------------------------------------------------------------------------------

TEST_F(Planning, SweepHasARowForEveryPointAndItsReason) {
  const Answer answer =
      foretoken_cli(small("sweep", {"--set", "deployment.experts.ep=16,12", "--set", "cluster.nic=200 Gb/s,400 Gb/s",
                                    "--json", "--csv", file("a.csv")}));
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json json = checked("sweep", answer);
  ASSERT_EQ(json["points"].size(), 4U);
  EXPECT_EQ(json["points"][1]["values"], Json({0, 0, 0, 1}));
  EXPECT_EQ(json["points"][1]["status"], "ok");
  EXPECT_EQ(json["points"][2]["status"], "invalid");
  EXPECT_THAT(json["points"][2]["reason"].get<std::string>(), HasSubstr("12 does not divide"));
  // Half the NIC is not faster.
  EXPECT_GE(json["points"][0]["tpot_ms"]["mean"], json["points"][1]["tpot_ms"]["mean"]);
  // It is simulate's own figure.
  const Json alone = Json::parse(foretoken_cli(small("simulate", {"--set", "cluster.nic=200 Gb/s", "--json"})).out);
  EXPECT_EQ(json["points"][0]["tpot_ms"]["mean"], alone["tpot_ms"]["mean"]);
  EXPECT_EQ(json["points"][0]["tps"], alone["tps"]);
  const std::string csv = text_of(file("a.csv"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 5);
  EXPECT_THAT(csv, HasSubstr("point,model.layers,measure.warmup_steps,deployment.experts.ep,cluster.nic,status,gpus"));
}

// The model's file is named relative to the scenario's, and so are counts of a serving framework.
TEST_F(Planning, SweepFindsTheFilesThatAScenarioNames) {
  Json scenario = Json::parse(std::ifstream("scenarios/served/gpt-oss-120b-tp4.json"));
  std::ofstream(file("model.json")) << std::ifstream("scenarios/models/gpt-oss-120b.json").rdbuf();
  const int experts = 128;
  std::ofstream(file("counts.json")) << Json({{"logical_count", Json(36, Json(experts, 7))}});
  scenario["model"]["file"] = "model.json";
  scenario["routing"] = {{"kind", "counts"}, {"file", "counts.json"}, {"seed", 1}, {"routed_steps", 1}};
  scenario["cluster"]["topology"] = fs::absolute("topologies/hgx-h100-2nodes-ndr400.json").string();
  scenario["measure"] = {{"warmup_steps", 1}, {"steps", 1}};
  std::ofstream(file("scenario.json")) << scenario;
  const Answer answer = foretoken_cli({"sweep", file("scenario.json"), "--set", "workload.context=100,200", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json json = checked("sweep", answer);
  for (const Json& point : json["points"]) EXPECT_EQ(point["status"], "ok") << point;
}

TEST_F(Planning, SweepSaysWhatDoesNotFit) {
  const Answer answer = foretoken_cli(small("sweep", {"--set", "workload.context=4000000", "--json"}));
  EXPECT_EQ(answer.code, 3);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("none of 1 points runs"), HasSubstr("a rank needs")));
  EXPECT_EQ(checked("sweep", answer)["points"][0]["status"], "infeasible");
}

const std::vector<std::string> kAxes{"--set", "workload.context=0..700+100", "--set", "cluster.nic=200 Gb/s,400 Gb/s"};

/// The table by one process without a journal: what all others must come to.
std::string expected_csv(const std::string& file) {
  std::vector<std::string> arguments = kAxes;
  arguments.insert(arguments.end(), {"--csv", file, "--threads", "1"});
  EXPECT_EQ(foretoken_cli(small("sweep", arguments)).code, 0);
  return text_of(file);
}

TEST_F(Planning, SweepGoesOnAfterAKill) {
  const std::string expected = expected_csv(file("expected.csv"));
  std::vector<std::string> arguments = kAxes;
  arguments.insert(arguments.end(), {"--csv", file("resumed.csv"), "--threads", "1", "--journal", file("journal")});
  // Killed again and again, each time once another two points or so are in the journal.
  std::size_t lines = 1;
  for (int kill = 0; kill < 3; ++kill) {
    const ::pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", ("exec " + shell_line(small("sweep", arguments)) + " >/dev/null 2>&1").c_str(),
              nullptr);
      ::_exit(127);
    }
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      const std::string text = text_of(file("journal"));
      const auto now = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
      int status = 0;
      if (now >= lines + 2 || std::chrono::steady_clock::now() > until || ::waitpid(child, &status, WNOHANG) == child) {
        lines = now;
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  EXPECT_GT(lines, 1U);
  std::ofstream(file("journal"), std::ios::app) << R"({"point":5,"resu)";  // as a kill in mid-line leaves it
  const Answer answer = foretoken_cli(small("sweep", arguments));
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.err, HasSubstr(fmt::format("{} of 16 points are in", lines - 1)));
  EXPECT_EQ(text_of(file("resumed.csv")), expected);
}

bool have_mpirun() {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return std::system("command -v mpirun >/dev/null 2>&1") == 0;  // NOLINT(concurrency-mt-unsafe)
#endif
}

const char* const kMpirun =
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
    "OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none timeout -k 1 200 mpirun ";

TEST_F(Planning, SweepOverMpiHasTheSameTable) {
  if (!have_mpirun()) GTEST_SKIP() << "no mpirun";
  const std::string expected = expected_csv(file("expected.csv"));
  std::vector<std::string> arguments = kAxes;
  arguments.insert(arguments.end(), {"--csv", file("mpi.csv")});
  ASSERT_EQ(shell(kMpirun + ("-n 4 " + shell_line(small("sweep", arguments))) + " >/dev/null 2>&1"), 0);
  EXPECT_EQ(text_of(file("mpi.csv")), expected);
}

// Rank 2 kills itself in the middle; what it had is done by others.
TEST_F(Planning, SweepOverMpiLosesNoPointWithAProcess) {
  if (!have_mpirun()) GTEST_SKIP() << "no mpirun";
  const std::string expected = expected_csv(file("expected.csv"));
  std::vector<std::string> arguments = kAxes;
  arguments.insert(arguments.end(), {"--csv", file("mpi.csv"), "--journal", file("journal")});
  std::ofstream(file("rank.sh"))
      << "#!/bin/sh\n"
      << "if [ \"$OMPI_COMM_WORLD_RANK\" = 2 ]; then\n  " << shell_line(small("sweep", arguments))
      << " &\n  until [ \"$(wc -l < '" << file("journal")
      << "' 2>/dev/null || echo 0)\" -gt 2 ]; do sleep 0.01; done\n  kill -9 $!\n  exit 137\nfi\nexec "
      << shell_line(small("sweep", arguments)) << "\n";
  ASSERT_EQ(shell(fmt::format("{} --enable-recovery -n 4 sh '{}' >'{}' 2>&1", kMpirun, file("rank.sh"), file("said"))),
            0)
      << text_of(file("said"));
  EXPECT_EQ(text_of(file("mpi.csv")), expected);
}

// ---- whatif --------------------------------------------------------------------------------------------------------

TEST_F(Planning, WhatifComparesBothSides) {
  const Answer answer = foretoken_cli({"whatif", "scenarios/paper/scaling-ep16.json", "--set", "cluster.nic=100 Gb/s",
                                       "--set", "workload.context=512", "--json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json json = checked("whatif", answer);
  EXPECT_EQ(json["verdict"], "slower");
  EXPECT_GT(json["tpot_ratio"], 1);
  EXPECT_LT(json["tpot_ratio_interval"][0], json["tpot_ratio"]);
  EXPECT_GT(json["tpot_ratio_interval"][1], json["tpot_ratio"]);
  ASSERT_EQ(json["alone"].size(), 2U);
  EXPECT_GT(json["alone"][0]["tpot_ms"]["mean"], json["before"]["tpot_ms"]["mean"]);
  // The differences along the critical path add up to that of TPOT's window.
  double change = 0;
  for (const Json& row : json["path_by_kind"]) change += row["after_ms"].get<double>() - row["before_ms"].get<double>();
  EXPECT_NEAR(change, json["after"]["tpot_ms"]["mean"].get<double>() - json["before"]["tpot_ms"]["mean"].get<double>(),
              0.02 * change);
  const Answer text = foretoken_cli({"whatif", "scenarios/paper/scaling-ep16.json", "--set", "cluster.nic=100 Gb/s"});
  EXPECT_THAT(text.out,
              AllOf(HasSubstr("Critical path by kind of op"), HasSubstr("Sensitivity"), HasSubstr("at 90 %")));
}

// ---- bad input -----------------------------------------------------------------------------------------------------

struct BadCase {
  std::vector<std::string> arguments;
  const char* says;
};

const std::string kScenario = "scenarios/paper/scaling-ep16.json";
const std::string kCluster = "topologies/hgx-h100-2nodes-ndr400.json";

std::vector<std::string> recommend(const std::vector<std::string>& more) {
  std::vector<std::string> arguments{"recommend", "--model", kScenario, "--cluster", kCluster};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// What bounds leave out is on no front: TPS per GPU, TPOT and deployment of every row are those of all candidates.
TEST_F(Planning, RecommendLosesNothingByItsBounds) {
  const auto search = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--simulations", "1000000", "--json"});
    const Answer answer = foretoken_cli(arguments);
    EXPECT_EQ(answer.code, 0) << answer.err;
    return checked("recommendation", answer);
  };
  for (const char* gpus : {"4", "8", "16"}) {
    const Json pruned = search(recommend({"--gpus", gpus, "--tpot", "12ms"}));
    const Json all = search(recommend({"--gpus", gpus, "--tpot", "12ms", "--exhaustive"}));
    EXPECT_GT(pruned["candidates"]["excluded_by_bound"], 0) << gpus;
    EXPECT_EQ(all["candidates"]["excluded_by_bound"], 0) << gpus;
    EXPECT_EQ(all["candidates"]["left"], 0) << gpus;
    ASSERT_EQ(pruned["front"].size(), all["front"].size()) << gpus;
    EXPECT_GE(all["front"].size(), 3U) << gpus;
    for (std::size_t row = 0; row < all["front"].size(); ++row)
      for (const char* key : {"label", "sequences", "tps_per_gpu", "tpot_ms", "keeps_objective"})
        EXPECT_EQ(pruned["front"][row][key], all["front"][row][key]) << gpus << " GPUs, row " << row << ": " << key;
    EXPECT_EQ(pruned["best"]["label"], all["best"]["label"]) << gpus;
  }
}

// The model may come by itself; where it does not fit, what is short is said.
TEST_F(Planning, RecommendTakesAModelsOwnFileAndNamesTheShortfall) {
  const Answer answer = foretoken_cli({"recommend", "--model", "scenarios/models/deepseek-v3.json", "--cluster",
                                       kCluster, "--gpus", "8", "--tpot", "50ms"});
  EXPECT_EQ(answer.code, 3);
  EXPECT_THAT(answer.err, AllOf(HasSubstr("deepseek-v3 does not fit on 8 GPUs"), HasSubstr("GB of a GPU")));
}

TEST_F(Planning, SaysWhatIsWrong) {
  std::ofstream(file("other.journal")) << R"({"kind":"sweep-journal","schema_version":1,"sweep":"x","points":1})"
                                       << "\n";
  std::ofstream(file("plain.json")) << R"({"kind": "audit"})";
  const std::vector<BadCase> cases{
      {{"sweep", kScenario, "--set", "deployment.experts.epp=8"},
       "\"epp\" is no member of deployment.experts; did you"},
      {{"sweep", kScenario, "--set", "deploymnt.micro_batches=8"}, "did you mean \"deployment\"?"},
      {{"sweep", kScenario, "--set", "model.layers.x=8"}, "model.layers has no members"},
      {{"sweep", kScenario, "--set", "workload.context="}, "has no value"},
      {{"sweep", kScenario, "--set", "workload.context=1,,2"}, "has an empty value"},
      {{"sweep", kScenario, "--set", "workload.context"}, "is not FIELD=VALUE"},
      {{"sweep", kScenario, "--set", "workload.context=1,1"}, "has the value 1 twice"},
      {{"sweep", kScenario, "--set", "workload.context=1", "--set", "workload.context=2"}, "is also set"},
      {{"sweep", kScenario, "--set", "workload.context=1..1000", "--set", "workload.sequences=1..1000", "--set",
        "routing.seed=1..1000"},
       "1e+09 points"},
      {{"sweep", "no/such.json"}, "no such file"},
      {{"sweep", kScenario, "--out", "/no/such/folder/x.json"}, "cannot be created"},
      {{"sweep", kScenario, "--csv", kScenario}, "is a file that is read"},
      {{"sweep", kScenario, "--csv", file("x"), "--out", file("x")}, "is also named by --out"},
      {{"sweep", kScenario, "--set", "measure.steps=4", "--csv", "/dev/full"}, "cannot be written: No space left"},
      {{"sweep", kScenario, "--journal", file("other.journal")}, "is the journal of another sweep"},
      {{"sweep", kScenario, "--journal", kScenario}, "is no journal of a sweep"},
      {{"sweep", kScenario, "--threads", "0"}, "--threads"},
      {{"whatif", kScenario}, "nothing is changed"},
      {{"whatif", kScenario, "--set", "workload.context=1,2"}, "has 2 values"},
      {{"whatif", kScenario, "--set", "workload.contxt=1"}, "did you mean \"context\"?"},
      {{"whatif", kScenario, "--set", "deployment.experts.ep=7"}, "7 does not divide"},
      {recommend({"--gpus", "0"}), "--gpus"},
      {recommend({"--gpus", "1000000000"}), "--gpus"},
      {recommend({"--gpus", "12"}), "are no whole nodes of 8 GPUs"},
      {recommend({"--gpus", "16", "--tpot", "0ms"}), "is not more than nothing"},
      {recommend({"--gpus", "16", "--tpot", "-5ms"}), "is not more than nothing"},
      {recommend({"--gpus", "16", "--tpot", "50"}), "is no time with a unit"},
      {recommend({"--gpus", "16", "--rate", "0"}), "is not more than nothing"},
      {recommend({"--gpus", "16", "--rate", "-1"}), "is not more than nothing"},
      {recommend({"--gpus", "16", "--price", "2.5"}), "has no unit"},
      {recommend({"--gpus", "16", "--watts", "700"}), "has no unit"},
      {recommend({"--gpus", "16", "--set", "model.dtyp.weights=fp8"}), "did you mean \"dtype\"?"},
      {{"recommend", "--model", file("plain.json"), "--cluster", kCluster, "--gpus", "8"}, "there is no model in it"},
      {{"recommend", "--model", kScenario, "--cluster", "topologies/host.json", "--gpus", "8"}, "is a host"},
  };
  for (const BadCase& one : cases) {
    const Answer answer = foretoken_cli(one.arguments);
    std::string line;
    for (const std::string& argument : one.arguments) line += argument + " ";
    EXPECT_EQ(answer.code, 2) << line << answer.err;
    EXPECT_THAT(answer.err, HasSubstr(one.says)) << line;
  }
  EXPECT_EQ(text_of(file("plain.json")), R"({"kind": "audit"})");
}

}  // namespace
}  // namespace foretoken::cli
