// Ctrl-C of foretoken run: what was measured is printed and stored, and the exit code is 130.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using test::text_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;

class InterruptedRunCommand : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("foretoken_interrupted_run_" + std::to_string(getpid()) +
                                           testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Its exit code: a signal after some seconds, to the process alone, as a shell gives it on Ctrl-C.
  int run_for(const std::string& signal, double seconds, const std::string& arguments) {
    std::ostringstream command;
    command << "timeout --foreground --preserve-status -s " << signal << " -k 60 " << seconds << " '" FORETOKEN_BINARY
            << "' run scenarios/laptop/baseline-r1.json " << arguments << " >'" << out().string() << "' 2>'"
            << err().string() << "'";
    return test::shell(command.str());
  }
  [[nodiscard]] fs::path out() const { return folder_ / "out"; }
  [[nodiscard]] fs::path err() const { return folder_ / "err"; }
  [[nodiscard]] fs::path stored() const { return folder_ / "stored.json"; }

  fs::path folder_;
};

// Many short steps: enough are over within seconds, and never all of them.
constexpr const char* kEndless = "--set model.layers=1 --set measure.warmup_steps=1 --set measure.steps=100000 ";

TEST_F(InterruptedRunCommand, ReportsAndStoresWhatWasMeasured) {
  for (const char* const signal : {"INT", "TERM"}) {
    const int code = run_for(signal, 6, kEndless + ("--json --out '" + stored().string() + "'"));
    EXPECT_EQ(code, 130) << text_of(err());
    EXPECT_THAT(text_of(err()), AllOf(HasSubstr("ending between two steps"), HasSubstr("foretoken: interrupted: "),
                                      HasSubstr("of 100000 counted steps were measured, 0 of them with per-op times")));
    const Json json = Json::parse(text_of(out()));
    const Json& interrupted = json.at("live").at("interrupted");
    EXPECT_GE(interrupted.at("steps"), 1);
    EXPECT_LT(interrupted.at("steps"), 100'000);
    EXPECT_EQ(interrupted.at("planned_steps"), 100'000);
    EXPECT_EQ(interrupted.at("instrumented_steps"), 0);
    EXPECT_GT(json.at("tps"), 0);
    EXPECT_FALSE(json.contains("breakdown"));
    EXPECT_THAT(plan::test::JsonSchema(Json::parse(schema_text("result").value())).check(json), IsEmpty());
    const Json whole = Json::parse(text_of(stored()));
    EXPECT_EQ(whole.at("tps"), json.at("tps"));
    // Nobody takes it for a run whose ops are known.
    std::ostringstream said, wrong;
    EXPECT_EQ(run({"explain", stored().string()}, said, wrong), 2);
    EXPECT_THAT(wrong.str(), HasSubstr("interrupted before it had timed any op"));
  }
}

TEST_F(InterruptedRunCommand, TellsPeopleHowManyStepsWereCounted) {
  EXPECT_EQ(run_for("INT", 6, kEndless), 130) << text_of(err());
  EXPECT_THAT(text_of(out()), AllOf(HasSubstr(" steps counted"), HasSubstr("TPOT")));
  EXPECT_THAT(text_of(out()), testing::Not(HasSubstr("100000 steps counted")));
  EXPECT_THAT(text_of(out()), testing::Not(HasSubstr("Where a step goes")));
}

// All steps of warm-up are not over after seconds.
TEST_F(InterruptedRunCommand, SaysThatNothingWasMeasured) {
  const int code = run_for(
      "INT", 4,
      "--set model.layers=1 --set measure.warmup_steps=100000 --set measure.steps=4 --out '" + stored().string() + "'");
  EXPECT_EQ(code, 130) << text_of(err());
  EXPECT_THAT(text_of(err()), HasSubstr("nothing was measured"));
  EXPECT_EQ(text_of(out()), "");
  EXPECT_FALSE(fs::exists(stored()));
}

}  // namespace
}  // namespace foretoken::cli
