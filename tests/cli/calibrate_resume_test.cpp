// foretoken calibrate host, killed again and again: what was measured is kept, and the end is that of one that was not.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "core/calibration.hpp"
#include "core/line_file.hpp"
#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test::shell;
using test::text_of;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kResumed = R"({
  "kind": "scenario", "schema_version": 1, "name": "pair",
  "model": {"name": "tiny", "layers": 2, "hidden": 32, "heads": 4, "head_dim": 8, "experts": 4, "top_k": 2,
            "expert_hidden": 24, "gated": false, "dtype": {"weights": "fp32"}},
  "workload": {"kind": "decode", "sequences": 8, "context": 5},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 2},
  "deployment": {"attention": {"tp": 2, "dp": 1},
                 "experts": {"placement": "colocated", "exchange": "all_reduce", "ep": 2}},
  "cluster": {"topology": "/proc/cpuinfo"},
  "measure": {"warmup_steps": 1, "steps": 2}
})";

class CalibrateResume : public testing::Test {
 protected:
  CalibrateResume()
      : folder(fs::temp_directory_path() / fmt::format("foretoken_resume_{}", ::getpid())), host(folder / "host") {
    fs::remove_all(folder);
    fs::create_directories(folder);
    std::ofstream(folder / "pair.json") << kResumed;
  }
  ~CalibrateResume() override { fs::remove_all(folder); }

  // A shell's line; what the command says goes to "said".
  [[nodiscard]] std::string command(const char* out = "host", const char* more = "--budget 3") const {
    return fmt::format("'{0}' calibrate host --out '{1}/{2}' --for '{1}/pair.json' {3} >'{1}/said' 2>&1",
                       FORETOKEN_BINARY, folder.string(), out, more);
  }
  [[nodiscard]] std::string said() const { return text_of(folder / "said"); }
  [[nodiscard]] fs::path journal() const { return host / "unfinished.jsonl"; }
  [[nodiscard]] fs::path raw() const { return host / "raw-samples.jsonl"; }

  fs::path folder;
  fs::path host;
};

// A kill comes when up to three more parts are done than at the last one, and up to 60 ms later.
TEST_F(CalibrateResume, LosesNothingToTwentyKills) {
  constexpr int kKills = 20;
  constexpr std::uint64_t kSeed = 1;
  std::mt19937_64 random(kSeed);
  std::vector<std::string> before;
  int fruitful = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    const std::size_t wanted = before.size() + random() % 4;
    const milliseconds later(random() % 60);
    const ::pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::execl("/bin/sh", "sh", "-c", ("exec " + command()).c_str(), nullptr);
      ::_exit(127);
    }
    const auto until = steady_clock::now() + std::chrono::seconds(60);
    while (whole_lines(text_of(journal())).size() < wanted && steady_clock::now() < until)
      std::this_thread::sleep_for(milliseconds(2));
    std::this_thread::sleep_for(later);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "kill " << kill << " of seed " << kSeed << " came too late: " << said();
    const std::vector<std::string> now = whole_lines(text_of(journal()));
    ASSERT_GE(now.size(), before.size()) << "kill " << kill << " of seed " << kSeed;
    EXPECT_TRUE(std::equal(before.begin(), before.end(), now.begin())) << "kill " << kill << " of seed " << kSeed;
    fruitful += now.size() > before.size() ? 1 : 0;
    before = now;
  }
  EXPECT_GT(fruitful, kKills / 2);
  ASSERT_EQ(shell(command()), 0) << said();
  EXPECT_THAT(said(), HasSubstr(fmt::format("{} of ", before.size() - 1)));

  const std::vector<std::string> lines = whole_lines(text_of(raw()));
  EXPECT_FALSE(fs::exists(journal()));
  ASSERT_GT(lines.size(), before.size());
  EXPECT_TRUE(std::equal(before.begin(), before.end(), lines.begin())) << "what survived the kills is in the end";
  std::set<std::string> parts;
  for (std::size_t i = 1; i < lines.size(); ++i)
    EXPECT_TRUE(parts.insert(nlohmann::json::parse(lines[i]).at("part")).second) << "measured twice: " << lines[i];
  EXPECT_TRUE(read_calibration(host / "calibration.json").host.has_value());
  RecordProperty("parts", static_cast<int>(parts.size()));
  RecordProperty("parts_when_killed_last", static_cast<int>(before.size()) - 1);

  // The same parts, fitted by one process that nobody disturbs: the same calibration.
  fs::create_directories(folder / "undisturbed");
  fs::copy_file(raw(), folder / "undisturbed" / "unfinished.jsonl");
  ASSERT_EQ(shell(command("undisturbed")), 0) << said();
  EXPECT_EQ(text_of(folder / "undisturbed" / "calibration.json"), text_of(host / "calibration.json"));
  EXPECT_EQ(text_of(folder / "undisturbed" / "samples.csv"), text_of(host / "samples.csv"));
}

// A disk that is full after 8 KiB: a limit on the size of files says so in the same place.
TEST_F(CalibrateResume, AFullDiskIsSaidAndLosesNothing) {
  ASSERT_NE(shell("trap '' XFSZ; ulimit -f 16; exec " + command()), 0);
  EXPECT_THAT(said(), AllOf(HasSubstr("unfinished.jsonl"), HasSubstr("cannot be written"), HasSubstr("free space")));
  const std::string kept = text_of(journal());
  EXPECT_GT(whole_lines(kept).size(), 1U);
  EXPECT_TRUE(kept.ends_with("\n"));
  EXPECT_FALSE(fs::exists(host / "calibration.json"));
  ASSERT_EQ(shell(command()), 0) << said();
  EXPECT_TRUE(text_of(raw()).starts_with(kept));
}

TEST_F(CalibrateResume, AnotherMeasurementsJournalIsRefused) {
  ASSERT_NE(shell("trap '' XFSZ; ulimit -f 16; exec " + command()), 0);
  const std::string kept = text_of(journal());
  EXPECT_EQ(shell(command("host", "--budget 3 --seed 2")), 2);
  EXPECT_THAT(said(), AllOf(HasSubstr("unfinished.jsonl#/seed"), HasSubstr("remove the file")));
  EXPECT_EQ(text_of(journal()), kept);
  // A budget says how often, not what: with another one it goes on.
  ASSERT_EQ(shell(command("host", "--budget 4")), 0) << said();
  EXPECT_TRUE(text_of(raw()).starts_with(kept));
}

}  // namespace
}  // namespace foretoken::cli
