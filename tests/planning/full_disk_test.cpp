// A sweep whose disk is full in the middle: it says so and ends, its journal is sound, and the same command goes on
// from there once there is room. And objectives that cannot be kept, and sweeps that are too long to begin.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"

namespace foretoken::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;
using test::shell;
using test::shell_line;
using test::text_of;

// 12 points of a small scenario.
const std::vector<std::string> kSweep{"sweep", "scenarios/paper/scaling-ep16.json",
                                      "--set", "model.layers=2",
                                      "--set", "measure.warmup_steps=1",
                                      "--set", "workload.context=0..500+100",
                                      "--set", "cluster.nic=200 Gb/s,400 Gb/s"};

std::vector<std::string> sweep(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = kSweep;
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

class FullDisk : public testing::Test {
 protected:
  FullDisk() : folder(fs::temp_directory_path() / fmt::format("foretoken_full_disk_test_{}", ::getpid())) {
    fs::create_directories(folder);
  }
  ~FullDisk() override { fs::remove_all(folder); }
  [[nodiscard]] std::string file(const char* name) const { return (folder / name).string(); }

  /// The journal has whole lines but perhaps for its last, and with room again the sweep ends as one that had it all
  /// the time, without computing again what the journal has.
  void expect_it_goes_on(const char* threads) {
    const std::string journal = text_of(file("journal"));
    const auto lines = std::count(journal.begin(), journal.end(), '\n');
    ASSERT_GT(lines, 1) << "no point was stored before the disk was full";
    ASSERT_LT(lines, 13) << "the disk was never full";
    std::istringstream text(journal);
    std::string line;
    for (std::int64_t i = 0; i < lines; ++i) {
      std::getline(text, line);
      EXPECT_TRUE(nlohmann::json::accept(line)) << "line " << i + 1;
    }
    const Answer again =
        foretoken_cli(sweep({"--threads", threads, "--journal", file("journal"), "--csv", file("again.csv")}));
    ASSERT_EQ(again.code, 0) << again.err;
    EXPECT_THAT(again.err, HasSubstr(fmt::format("{} of 12 points are in", lines - 1)));
    ASSERT_EQ(foretoken_cli(sweep({"--csv", file("expected.csv")})).code, 0);
    EXPECT_EQ(text_of(file("again.csv")), text_of(file("expected.csv")));
  }

  fs::path folder;
};

// A limit on the size of files stands for a disk that is full: the kernel writes what fits of a line, then refuses.
TEST_F(FullDisk, EndsASweepWhoseJournalCannotGrow) {
  for (const char* threads : {"1", "3"}) {
    fs::remove(file("journal"));
    const std::string command =
        shell_line(sweep({"--threads", threads, "--journal", file("journal"), "--csv", file("none.csv")}));
    const int code =
        shell(fmt::format("( trap '' XFSZ; ulimit -f 4; exec {} ) >/dev/null 2>'{}'", command, file("said")));
    EXPECT_EQ(code, 2) << text_of(file("said"));
    EXPECT_THAT(text_of(file("said")),
                AllOf(HasSubstr("--journal " + file("journal") + ": cannot be written: File too large"),
                      HasSubstr("the free space")));
    EXPECT_FALSE(fs::exists(file("none.csv")));
    expect_it_goes_on(threads);
  }
}

// A file system of 4 KiB, where users may make one.
TEST_F(FullDisk, EndsASweepOnAFileSystemThatIsFull) {
  fs::create_directory(folder / "small");
  const std::string mount = fmt::format("mount -t tmpfs -o size=4k none '{}'", file("small"));
  if (shell(fmt::format("unshare -Urm sh -c \"{}\" 2>/dev/null", mount)) != 0)
    GTEST_SKIP() << "no file system can be mounted";
  std::ofstream(file("inside.sh")) << "set -e\n"
                                   << mount << "\ncode=0\n"
                                   << shell_line(sweep({"--threads", "2", "--journal", file("small/journal")}))
                                   << " >/dev/null 2>'" << file("said") << "' || code=$?\ncat '"
                                   << file("small/journal") << "' >'" << file("journal") << "'\nexit $code\n";
  EXPECT_EQ(shell(fmt::format("unshare -Urm sh '{}'", file("inside.sh"))), 2);
  EXPECT_THAT(text_of(file("said")),
              AllOf(HasSubstr("--journal " + file("small/journal") + ": cannot be written: No space left on device"),
                    HasSubstr("the free space")));
  expect_it_goes_on("2");
}

// Standard error goes through a pipe, which has no size.
TEST_F(FullDisk, SaysSoBeforeTheFirstPoint) {
  shell(fmt::format("{{ ( trap '' XFSZ; ulimit -f 0; exec {} 2>&1 >/dev/null ); echo code $?; }} | cat >'{}'",
                    shell_line(sweep({"--journal", file("journal")})), file("said")));
  EXPECT_THAT(text_of(file("said")), AllOf(HasSubstr("cannot be written: File too large"), HasSubstr("code 2\n")));
  const Answer again = foretoken_cli(sweep({"--journal", file("journal")}));
  EXPECT_EQ(again.code, 0) << again.err;
}

// ---- what no machine can give --------------------------------------------------------------------------------------

TEST(ImpossibleObjective, IsInfeasibleAndNamesTheNearest) {
  const std::vector<std::string> base{"recommend",
                                      "--model",
                                      "scenarios/paper/scaling-ep16.json",
                                      "--cluster",
                                      "topologies/hgx-h100-2nodes-ndr400.json",
                                      "--gpus",
                                      "8"};
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--tpot", "1us"}, {"--rate", "1e12"}}) {
    std::vector<std::string> arguments = base;
    arguments.insert(arguments.end(), {option, value});
    const Answer answer = foretoken_cli(arguments);
    EXPECT_EQ(answer.code, 3) << option;
    EXPECT_THAT(answer.err, AllOf(HasSubstr("nothing keeps the objective"), HasSubstr("nearest is")));
  }
}

// 10^9 points: refused at once, with their factors, the most that is possible, and the field to narrow.
TEST(EndlessSweep, IsRefusedWithItsSizeAndHowToNarrowIt) {
  const Answer answer =
      foretoken_cli({"sweep", "scenarios/paper/scaling-ep16.json", "--set", "workload.context=1..1000", "--set",
                     "workload.sequences=1..1000", "--set", "routing.seed=1..1000"});
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.err,
              AllOf(HasSubstr("1e+09 points"), HasSubstr("1000 of workload.context x 1000 of workload.sequences"),
                    HasSubstr("at most 1000000 are simulated"),
                    HasSubstr("give fields fewer values (workload.context has most)")));
}

TEST(FaultThatNamesNothing, IsRefusedByEveryCommandThatSimulates) {
  const std::string faults = R"(faults=[{"nic": "node9.nic0", "dead": true}])";
  const std::string scenario = "scenarios/paper/scaling-ep16.json";
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"simulate", scenario, "--set", faults},
                                                                     {"plan", scenario, "--set", faults},
                                                                     {"whatif", scenario, "--set", faults}}) {
    const Answer answer = foretoken_cli(arguments);
    EXPECT_EQ(answer.code, 2) << arguments.front();
    EXPECT_THAT(answer.err, HasSubstr("has no \"node9.nic0\"")) << arguments.front();
  }
}

}  // namespace
}  // namespace foretoken::cli
