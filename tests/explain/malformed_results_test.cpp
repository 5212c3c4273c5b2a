// Whatever is wrong with a stored result, the command says where, and ends with 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/explain/hand_results.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::explain {
namespace {

using Json = nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

// Every second mutation is run. Instrumented builds are several times slower: there, every sixteenth.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kEvery = 16;
#else
constexpr std::size_t kEvery = 2;
#endif

/// Two ranks, CPU time, a published entry: every member that is read.
Json whole_result() {
  StoredResult result = test::steady({});
  result.trace = test::empty_trace(2, 2);
  test::add_rank(result.trace, 0, {});
  test::add_rank(result.trace, 1, {});
  result.trace.cpu.assign(result.trace.size(), SimTime(1'000));
  result.cpu_step = Seconds(16e-9);
  result.overhead = 0.01;
  result.published = PublishedEntry{"invented", 1e6, Seconds(1e-6)};
  return test::stored_json(result);
}

class StoredFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("foretoken_stored_" + std::to_string(::getpid()) + "_" +
                                          testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
    write("good.json", whole_result().dump());
  }
  void TearDown() override { fs::remove_all(folder); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder / name).string(); }

  struct Answer {
    int code = 0;
    std::string out;
    std::string err;
  };
  static Answer run(const std::vector<std::string>& arguments) {
    std::ostringstream out, err;
    const int code = cli::run(arguments, out, err);
    return {code, out.str(), err.str()};
  }
  [[nodiscard]] Answer compare_bad() const {
    return run({"compare", path("good.json"), path("bad.json"), "--clock", "cpu"});
  }

  fs::path folder;
};

struct BadResult {
  const char* pointer;  // of the changed value
  const char* value;    // JSON; empty: the member is removed
  const char* message;  // what must be said
};

const std::vector<BadResult>& bad_results() {
  static const std::vector<BadResult> list{
      {"/kind", "\"scenario\"", "#/kind: this is a file of kind \"scenario\"; a file of kind \"result\" is wanted"},
      {"/kind", "\"choices\"", "#/kind: this is a file of kind \"choices\""},
      {"/kind", "", "the key \"kind\" is missing"},
      {"/schema_version", "2", "#/schema_version: schema_version 2 is newer than this program"},
      {"/schema_version", "0", "#/schema_version: 0 is out of range"},
      {"/scenario", "", "the key \"scenario\" is missing"},
      {"/plan_hash", "\"abc\"", "#/plan_hash: \"abc\" is not a hash; write 32 hexadecimal digits"},
      {"/plan_hash", "7", "#/plan_hash: 7 is not a string"},
      {"/tps", "0", "#/tps: 0 is out of range"},
      {"/tps", "-3", "#/tps: -3 is out of range"},
      {"/tps", "null", "#/tps: null is not a number"},
      {"/tpot_ms/mean", "-1", "#/tpot_ms/mean: -1 is out of range"},
      {"/tpot_ms/mean", "1e300", "#/tpot_ms/mean: 1e+300 is out of range"},
      {"/tpot_ms/p95", "", "#/tpot_ms: the key \"p95\" is missing"},
      {"/step_ms", "[]", "#/step_ms: [] is not an object"},
      {"/cpu_step_ms", "-1", "#/cpu_step_ms: -1 is out of range"},
      {"/live/instrumentation_overhead", "-1", "#/live/instrumentation_overhead: -1 is out of range"},
      {"/published/tps", "\"many\"", "#/published/tps: \"many\" is not a number"},
      {"/ranks", "0", "#/ranks: 0 is out of range"},
      {"/ranks", "3", "#/trace/role_of_rank: the list has 2 entries and the result 3 ranks"},
      {"/breakdown/rank", "1", "#/breakdown/rank: the slowest rank is said to be 1; in the trace rank 0 ends last"},
      {"/breakdown", "", "the key \"breakdown\" is missing"},
      {"/resolved_scenario", "", "the result was stored without its scenario; store the whole result with --out"},
      {"/resolved_scenario", "5", "#/resolved_scenario: 5 is not an object"},
      {"/trace", "", "the result was stored without its trace; store the whole result with --out FILE"},
      {"/trace/time_unit", "\"ns\"", "#/trace/time_unit: times are in \"ns\"; write times in whole picoseconds"},
      {"/trace/warmup_steps", "0", "#/trace/warmup_steps: 0 is out of range"},
      {"/trace/steps", "2.5", "#/trace/steps: 2.5 is not a whole number"},
      {"/trace/steps", "7", "#/trace/events: rank 0 has no step_end in step 7"},
      {"/trace/steps", "1", "#/trace/events/step/5: 2 is out of range"},
      {"/trace/op_columns/0", "\"kind\"", "#/trace/op_columns/0: \"kind\" is not the column that belongs here"},
      {"/trace/roles", "[]", "#/trace/roles: the list has 0 elements"},
      {"/trace/roles/0/0/1", "\"gem\"", "#/trace/roles/0/0/1: \"gem\" is not known; did you mean \"gemm\"?"},
      {"/trace/roles/0/0", "[\"a\"]", "#/trace/roles/0/0: the list has 1 elements"},
      {"/trace/roles/0/3/1", "\"add\"", "#/trace/events: no rank has a step_end"},
      {"/trace/role_of_rank/1", "1", "#/trace/role_of_rank/1: 1 is out of range"},
      {"/trace/ranks", "[0]", "rank 1 is not listed in trace.ranks"},
      {"/trace/ranks/1", "2", "#/trace/ranks/1: 2 is out of range"},
      {"/trace/events/rank/0", "2", "#/trace/events/rank/0: 2 is out of range"},
      {"/trace/events/rank/0", "1e99", "#/trace/events/rank/0: 1e+99 is out of range"},
      {"/trace/events/op/3", "4", "#/trace/events/op/3: there is no op 4 in role 0 of rank 0; the role has 4 ops"},
      {"/trace/events/op/3", "-1", "#/trace/events/op/3: -1 is out of range"},
      {"/trace/events/op", "[0]", "#/trace/events/op: the column has 1 entries and \"rank\" has 18"},
      {"/trace/events/ended", "[]", "#/trace/events/ended: the column has 0 entries and \"rank\" has 18"},
      {"/trace/events/cpu", "[1]", "#/trace/events/cpu: the column has 1 entries and \"rank\" has 18"},
      {"/trace/events/cpu/0", "-1", "#/trace/events/cpu/0: -1 is out of range"},
      {"/trace/events/step/2", "3", "#/trace/events/step/2: 3 is out of range"},
      {"/trace/events/posted/2", "-5", "#/trace/events/posted/2: -5 is out of range"},
      {"/trace/events/posted/2", "9223372036854775807", "#/trace/events/posted/2: 9223372036854775807 is out of range"},
      {"/trace/events/begun/2", "7", "#/trace/events/begun/2: 7 ps is before the event was posted (140000 ps)"},
      {"/trace/events/ended/2", "140001",
       "#/trace/events/ended/2: 140001 ps is before the event was begun (145000 ps)"},
      {"/trace/events/ended/2", "\"x\"", "#/trace/events/ended/2: \"x\" is not a number"},
      {"/trace/events/provenance/0", "4", "#/trace/events/provenance/0: 4 is out of range"},
      {"/trace/events/begun", "", "#/trace/events: the key \"begun\" is missing"},
      {"/trace/events", "[]", "#/trace/events: [] is not an object"},
      // The warm-up of rank 0 ends when its counted steps do.
      {"/trace/events/ended/0", "300000", "#/trace/events: the counted steps of rank 0 end at 300000 ps and begin at"},
  };
  return list;
}

TEST_F(StoredFiles, EveryMistakeIsNamed) {
  ASSERT_EQ(run({"compare", path("good.json"), path("good.json"), "--clock", "cpu"}).code, 0);
  for (const BadResult& tested : bad_results()) {
    Json changed = whole_result();
    const Json::json_pointer pointer(tested.pointer);
    ASSERT_TRUE(changed.contains(pointer)) << tested.pointer;
    if (std::string(tested.value).empty()) changed.at(pointer.parent_pointer()).erase(pointer.back());
    else changed[pointer] = Json::parse(tested.value);
    write("bad.json", changed.dump());
    const Answer answer = compare_bad();
    SCOPED_TRACE(std::string(tested.pointer) + " = " + tested.value);
    EXPECT_EQ(answer.code, 2);
    EXPECT_EQ(answer.out, "");
    EXPECT_THAT(answer.err, HasSubstr("bad.json"));
    EXPECT_THAT(answer.err, HasSubstr(tested.message));
  }
}

TEST_F(StoredFiles, TextThatIsNoResult) {
  const std::string good = whole_result().dump();
  const std::vector<std::pair<std::string, const char*>> texts{
      {"", "the text ends too early"},
      {good.substr(0, good.size() / 2), "the text ends too early"},
      {"[]", "a list of 0 results; store one scenario's result per file"},
      {"[" + good + "," + good + "]", "a list of 2 results; store one scenario's result per file"},
      {"7", "7 is not an object"},
      {"{}", "the key \"kind\" is missing"},
      {"{\"tps\": NaN}", "not valid JSON"},
      {"{\"kind\": \"result\", \"kind\": \"result\"}", "appears twice"},
      {"scenario: x", "not valid JSON"}};
  for (const auto& [text, message] : texts) {
    write("bad.json", text);
    const Answer answer = compare_bad();
    EXPECT_EQ(answer.code, 2) << text.substr(0, 100);
    EXPECT_THAT(answer.err, HasSubstr("bad.json"));
    EXPECT_THAT(answer.err, HasSubstr(message));
    EXPECT_EQ(answer.out, "");
  }
}

TEST_F(StoredFiles, BadUsage) {
  const std::string good = path("good.json");
  const std::vector<std::pair<std::vector<std::string>, const char*>> calls{
      {{"compare"}, "no result is given"},
      {{"compare", path("none.json")}, "none.json: no such file"},
      {{"compare", good, path("none.json")}, "none.json: no such file"},
      {{"compare", good, folder.string()}, "not a regular file"},
      {{"compare", good, good, good}, "not expected"},
      {{"compare", good, good, "--by", "op"}, "--by"},
      {{"compare", good, good, "--clock", "sun"}, "--clock"},
      {{"compare", good, "--clock", "cpu"}, "--clock cpu: published figures have no trace; give a second result"},
      {{"compare", good, "--by", "layer"}, "--by layer: published figures have no trace; give a second result"},
      {{"compare", good, "--fail-if", "step>1%"}, "this comparison has no step_mean_ms"},
      {{"compare", good, good, "--fail-if", "tpot<1%"}, "there is no '>'"},
      {{"compare", good, good, "--fail-if"}, "--fail-if"}};
  for (const auto& [arguments, message] : calls) {
    const Answer answer = run(arguments);
    EXPECT_EQ(answer.code, 2) << message;
    EXPECT_THAT(answer.err, HasSubstr(message));
    EXPECT_EQ(answer.out, "");
  }
}

void collect(const Json& value, const Json::json_pointer& at, std::vector<Json::json_pointer>& places) {
  if (!at.empty()) places.push_back(at);
  if (!value.is_structured()) return;
  for (const auto& item : value.items())
    collect(item.value(), value.is_array() ? at / std::stoul(item.key()) : at / item.key(), places);
}

// Of the columns, those of the first rank.
bool is_of_a_later_rank(const Json::json_pointer& place) {
  if (!place.to_string().starts_with("/trace/events/") || place.parent_pointer().back() == "events") return false;
  return std::stoul(place.back()) > 8;
}

// Every value is removed or replaced in turn, on either side. The command ends with a comparison or with a message;
// what it prints adds up.
TEST_F(StoredFiles, DamagedAnywhereEndWithAComparisonOrAMessage) {
  const Json good = whole_result();
  std::vector<Json::json_pointer> places;
  collect(good, Json::json_pointer(), places);
  ASSERT_GT(places.size(), 150u);
  int refused = 0, compared = 0;
  std::size_t mutation = 0;
  const auto try_file = [&](const Json& changed) {
    if (mutation++ % kEvery != 0) return;
    write("bad.json", changed.dump());
    const bool first = (refused + compared) % 2 == 0;
    const Answer answer =
        run({"compare", path(first ? "bad.json" : "good.json"), path(first ? "good.json" : "bad.json"), "--clock",
             "cpu", "--by", first ? "kind" : "layer", "--json"});
    ASSERT_TRUE(answer.code == 0 || answer.code == 2) << answer.code << answer.err << changed.dump();
    if (answer.code == 2) {
      ++refused;
      ASSERT_THAT(answer.err, AnyOf(HasSubstr("bad.json"), HasSubstr("A and B take more than"))) << changed.dump();
      ASSERT_EQ(answer.out, "");
      return;
    }
    ++compared;
    const Json comparison = Json::parse(answer.out);
    for (const char* clock : {"tpot", "cpu"}) {
      std::int64_t sum = 0;
      for (const Json& part : comparison[clock]["parts"]) sum += part["difference_ps"].get<std::int64_t>();
      ASSERT_EQ(sum, comparison[clock]["difference_ps"].get<std::int64_t>()) << changed.dump();
    }
  };
  for (const Json::json_pointer& place : places) {
    if (is_of_a_later_rank(place)) continue;
    Json without = good;
    Json& parent = without.at(place.parent_pointer());
    if (parent.is_array()) parent.erase(std::stoul(place.back()));
    else parent.erase(place.back());
    try_file(without);
    for (const char* value :
         {"0", "-1", "1", "1.5", "150001", "1000000", "1e15", "1e300", "576460752303423488", "9223372036854775807",
          "18446744073709551615", "null", "true", "\"\"", "\"x\"", "[]", "[0]", "{}"}) {
      Json changed = good;
      changed[place] = Json::parse(value);
      try_file(changed);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(refused, compared);
  EXPECT_GT(compared, 10);
}

}  // namespace
}  // namespace foretoken::explain
