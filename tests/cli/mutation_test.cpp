// Whatever single value of a shipped scenario is damaged, the command ends well: a result, or a message and exit code 2
// or
// 3. Never an internal error, never a hang.
//
// A value that is merely large (a thousand times the steps) is no damage: it is simulated for as long as it takes, up
// to SimulateOptions::executions_max, and is not tried here. Every leaf is deleted, retyped, negated, made zero, huge
// or empty, or replaced by a text that is no JSON; every object and list is deleted and retyped too. Mutations that
// give the same file are run once.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/scratch_folder.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

// Of processor time, so that a busy machine does not fail the test; what hangs runs into the time limit of the test.
constexpr double kCpuSecondsMax = 5;
constexpr const char* kMark = "@mutated@";  // stands where the raw text goes

// Instrumented builds are several times slower: there, every eighth mutation is run.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kEvery = 8;
#else
constexpr std::size_t kEvery = 1;
#endif

bool is_of_a_host(const std::string& scenario) {
  return scenario.find("/laptop/") != std::string::npos || scenario.find("/lab/") != std::string::npos;
}

// What scenarios of hosts run on ships without a calibration, so those are planned.
std::string command_for(const std::string& scenario) { return is_of_a_host(scenario) ? "plan" : "simulate"; }

// The scaling series differs from large-ep64 in sizes alone, and that from the baseline in its deployment: of their
// mutations every eighth and every third is run.
std::size_t stride_of(const std::string& scenario) {
  if (scenario.find("scaling") != std::string::npos) return 8 * kEvery;
  return kEvery * (scenario.find("large-ep64") != std::string::npos ? 3 : 1);
}

/// The scenario with two steps instead of its dozen: what is damaged matters here, not how long it is simulated.
Json shortened(Json scenario) {
  scenario["routing"]["routed_steps"] = 1;
  scenario["measure"] = {{"warmup_steps", 1}, {"steps", 1}};
  return scenario;
}

const std::vector<std::string>& replacements() {
  static const std::vector<std::string> list{"0",
                                             "-1",
                                             "1",
                                             "1.5",
                                             "1000000000000",
                                             "-1000000000000",
                                             "1e12",
                                             "1e300",
                                             "-1e300",
                                             "1e400",
                                             "99999999999999999999",
                                             "18446744073709551615",
                                             "9223372036854775807",
                                             "NaN",
                                             "-Infinity",
                                             "null",
                                             "true",
                                             "false",
                                             "\"\"",
                                             "\"x\"",
                                             "\"8\"",
                                             "\"0 Gb/s\"",
                                             "\"1e400 ms\"",
                                             "[]",
                                             "[1]",
                                             "{}",
                                             "{\"x\": 1}",
                                             ""};
  return list;
}

void collect(const Json& value, const Json::json_pointer& pointer, std::vector<Json::json_pointer>& places) {
  if (!pointer.empty()) places.push_back(pointer);
  if (!value.is_structured()) return;
  for (const auto& item : value.items())
    collect(item.value(), value.is_array() ? pointer / std::stoul(item.key()) : pointer / item.key(), places);
}

/// The file with the value at `place` replaced by a raw text.
std::string with(const Json& scenario, const Json::json_pointer& place, const std::string& raw) {
  Json changed = scenario;
  changed[place] = kMark;
  std::string text = changed.dump();
  const std::string mark = Json(kMark).dump();
  return text.replace(text.find(mark), mark.size(), raw);
}

std::vector<std::string> mutations_of(const Json& scenario) {
  std::vector<Json::json_pointer> places;
  collect(scenario, Json::json_pointer(), places);
  std::set<std::string> seen{scenario.dump()};
  std::vector<std::string> mutations;
  const auto add = [&](std::string text) {
    if (seen.insert(text).second) mutations.push_back(std::move(text));
  };
  for (const Json::json_pointer& place : places) {
    Json without = scenario;
    Json& parent = without.at(place.parent_pointer());
    if (parent.is_array()) parent.erase(std::stoul(place.back()));
    else parent.erase(place.back());
    add(without.dump());
    for (const std::string& raw : replacements()) add(with(scenario, place, raw));
    const Json& value = scenario.at(place);
    if (value.is_number_integer()) {
      for (const std::int64_t factor : {-1, 2, 3, 7})
        add(with(scenario, place, std::to_string(value.get<std::int64_t>() * factor)));
      add(with(scenario, place, '"' + value.dump() + '"'));
    }
    if (value.is_string()) add(with(scenario, place, Json(value.get<std::string>().substr(1)).dump()));
  }
  return mutations;
}

class Mutations : public testing::TestWithParam<std::string> {
 protected:
  // The damaged file stands in a folder as deep as the original's, beside links to what scenarios refer to.
  void SetUp() override {
    folder_ = test::scratch_folder();
    fs::create_directories(folder_ / "scenarios/mutated");
    fs::create_directory_symlink(fs::path(FORETOKEN_SOURCE_DIR) / "topologies", folder_ / "topologies");
    file_ = folder_ / "scenarios/mutated/case.json";
  }

  fs::path folder_;
  fs::path file_;
};

TEST_P(Mutations, EndWithAResultOrAMessage) {
  const Json scenario = shortened(Json::parse(std::ifstream(fs::path(FORETOKEN_SOURCE_DIR) / GetParam())));
  const std::vector<std::string> mutations = mutations_of(scenario);
  ASSERT_GT(mutations.size(), 500u);
  std::vector<int> codes(8, 0);
  for (std::size_t i = 0; i < mutations.size(); i += stride_of(GetParam())) {
    std::ofstream(file_, std::ios::binary) << mutations[i];
    std::ostringstream out, err;
    const std::clock_t start = std::clock();
    const int code = run({command_for(GetParam()), file_.string(), "--json"}, out, err);
    const double cpu_seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const std::string replay = "mutation " + std::to_string(i) + " of " + GetParam() + ":\n" + mutations[i];
    ASSERT_TRUE(code == 0 || code == 2 || code == 3) << "exit code " << code << ": " << err.str() << "\n" << replay;
    ASSERT_LT(cpu_seconds, kCpuSecondsMax) << replay;
    if (code == 0) {
      ASSERT_TRUE(Json::accept(out.str())) << replay;
    } else {
      ASSERT_NE(err.str(), "") << replay;
      ASSERT_NE(err.str().find("case.json"), std::string::npos) << "the message names no file: " << err.str() << replay;
      ASSERT_EQ(out.str(), "") << replay;
    }
    ++codes[static_cast<std::size_t>(code)];
  }
  // Most damage is noticed; some values are free (names, seeds, contexts).
  EXPECT_GT(codes[0], 0);
  EXPECT_GT(codes[2], codes[0]);
  RecordProperty("ok", codes[0]);
  RecordProperty("bad_input", codes[2]);
  RecordProperty("infeasible", codes[3]);
}

// Most of scenarios/laptop and scenarios/lab are the paper's deployments in other sizes, and would take a minute to say
// nothing new. Those tried have what the paper's files have not: dense layers, Zipf routing, shared experts, nodes.
bool is_tried(const std::string& path) {
  return !is_of_a_host(path) || path.ends_with("/large-ep-2x4.json") || path.ends_with("/shape-r1-dense.json") ||
         path.ends_with("/shape-r2-ep2-rows.json") || path.ends_with("/shape-r2-ep2-two-batch.json");
}

std::vector<std::string> shipped_scenarios() {
  const fs::path root(FORETOKEN_SOURCE_DIR);
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root / "scenarios")) {
    const std::string path = entry.path().lexically_relative(root).generic_string();
    const bool scenario = !path.ends_with(".schema.json") && !path.ends_with("/audit.json") &&
                          !path.ends_with("/accepted.json") && !path.starts_with("scenarios/models/") &&
                          !path.starts_with("scenarios/served/");  // no scenarios; too large
    if (path.ends_with(".json") && scenario && is_tried(path)) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string name_of(const testing::TestParamInfo<std::string>& tested) {
  std::string name;
  for (const char c : fs::path(tested.param).stem().string())
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(ShippedScenarios, Mutations, testing::ValuesIn(shipped_scenarios()), name_of);

}  // namespace
}  // namespace foretoken::cli
