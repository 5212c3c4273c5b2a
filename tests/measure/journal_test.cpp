// A measurement that was ended goes on where it was, and the fit is a function of the parts in the journal.
#include "calibrate/measure/journal.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "calibrate/measure/measure_host.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kScenario = R"({
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

MeasuredPart part(const std::string& name, double microseconds) {
  MeasuredPart part;
  part.name = name;
  part.took = Seconds(0.125);
  part.core_mhz = 2450;
  HostSample sample;
  sample.probe = "tiny";
  sample.kind = "gemm";
  sample.op = "op";
  sample.shape = "m=1 n=2 k=3";
  sample.amounts[HostTerm::product_rows4] = 0.1;
  sample.cpu = sample.cpu_q10 = sample.cpu_q90 = sample.wall = Seconds(microseconds * 1e-6);
  sample.count = 3;
  part.samples = {sample, sample};
  return part;
}

MeasurementIdentity identity() {
  MeasurementIdentity identity;
  identity.machine = {"here", "a CPU", 4, "Linux 6", "a BLAS", ""};
  identity.cores = 4;
  identity.version = "0.1";
  identity.seed = 1;
  identity.scenarios = {"pair 0123"};
  return identity;
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() : folder(fs::temp_directory_path() / fmt::format("foretoken_measure_journal_{}", ::getpid())) {
    fs::remove_all(folder);
    fs::create_directories(folder);
  }
  ~JournalTest() override { fs::remove_all(folder); }
  [[nodiscard]] fs::path file() const { return folder / "unfinished.jsonl"; }
  [[nodiscard]] MeasurementJournal journal(const MeasurementIdentity& of = identity()) const {
    return {file(), of, "2026-01-31", true};
  }
  [[nodiscard]] std::string text() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write(std::string_view text) const { std::ofstream(file(), std::ios::binary) << text; }
  [[nodiscard]] std::string refusal(const MeasurementIdentity& of = identity()) const {
    try {
      (void)journal(of);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return error.what();
    }
    return "accepted";
  }

  fs::path folder;
};

TEST_F(JournalTest, APartIsALineAndBack) {
  // 0.12345 us is kept to 0.1 ns; a line that was read is written again as it was.
  const std::string line = line_of(part("compute 0 tiny", 0.12345));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const MeasuredPart back = part_of(line, "j:2");
  EXPECT_EQ(line_of(back), line);
  ASSERT_EQ(back.samples.size(), 2U);
  EXPECT_NEAR(back.samples.front().cpu.value(), 0.12345e-6, 0.5e-10);
  EXPECT_EQ(back.core_mhz, 2450);
  MeasuredPart cache;
  cache.name = "cache alone 65536";
  cache.per_byte = Seconds(1.0 / 3e9);
  EXPECT_EQ(part_of(line_of(cache), "j:2").per_byte, cache.per_byte) << "to the last bit";
}

TEST_F(JournalTest, HasThePartsThatWereAdded) {
  {
    MeasurementJournal first = journal();
    EXPECT_TRUE(first.known().empty());
    first.add(part("compute 0 tiny", 1));
    first.add(part("compute 1 tiny", 2));
  }
  const MeasurementJournal again(file(), identity(), "2027-12-31", true);
  EXPECT_EQ(again.known().size(), 2U);
  EXPECT_EQ(again.date(), "2026-01-31") << "when it began";
  // A process that does not lead looks on while the leading one has the file.
  MeasurementJournal other(file(), identity(), "2027-12-31", false);
  EXPECT_EQ(other.known().size(), 2U);
  const std::string before = text();
  other.add(part("compute 2 tiny", 3));
  EXPECT_EQ(text(), before);
}

TEST_F(JournalTest, EveryCutLosesAtMostTheLastLine) {
  std::vector<std::size_t> ends;
  {
    MeasurementJournal whole = journal();
    for (const char* name : {"a", "b"}) {
      ends.push_back(text().size());
      whole.add(part(name, 1));
    }
  }
  const std::string all = text();
  for (std::size_t size = 0; size <= all.size(); ++size) {
    write(all.substr(0, size));
    const std::size_t expected = size == all.size() ? 2 : size > ends[1] - 1 ? 1 : 0;
    {
      MeasurementJournal cut = journal();
      EXPECT_EQ(cut.known().size(), expected) << size;
      cut.add(part("c", 1));
    }
    EXPECT_EQ(journal().known().size(), expected + 1) << size;
  }
}

TEST_F(JournalTest, OfAnotherMeasurementIsRefusedWithWhatDiffers) {
  journal().add(part("a", 1));
  const auto with = [](const auto& change) {
    MeasurementIdentity other = identity();
    change(other);
    return other;
  };
  const auto says = [&](const MeasurementIdentity& other, const char* what) {
    EXPECT_THAT(refusal(other), AllOf(HasSubstr(what), HasSubstr("--out"), HasSubstr("remove the file")));
  };
  says(with([](auto& i) { i.machine.cpu = "another CPU"; }), R"(#/cpu: an unfinished measurement with "a CPU")");
  says(with([](auto& i) { i.machine.host = "there"; }), R"(#/host: an unfinished measurement with "here")");
  says(with([](auto& i) { i.version = "0.2"; }), R"(#/foretoken: an unfinished measurement with "0.1")");
  says(with([](auto& i) { i.seed = 2; }), "#/seed: an unfinished measurement with 1, and this would be one with 2");
  says(with([](auto& i) { i.cores = 2; }), "#/cores");
  says(with([](auto& i) { i.scenarios.clear(); }), "#/scenarios");
  EXPECT_EQ(refusal(), "accepted");
}

TEST_F(JournalTest, WhatIsNoJournalIsRefusedAndKept) {
  for (const char* mine : {"mine", "{\"kind\":\"scenario\"}\n", "[1]\n", "\n"}) {
    write(mine);
    EXPECT_THAT(refusal(), HasSubstr("is no journal")) << mine;
    EXPECT_EQ(text(), mine);
  }
  write("");
  journal().add(part("a", 1));
  const std::string good = text();
  for (const char* bad : {"{}", "{", R"({"part":"b","seconds":1,"core_mhz":1,"samples":["x"]})",
                          R"({"part":"b","seconds":-1,"core_mhz":1,"samples":[]})"}) {
    write(good + bad + "\n");
    EXPECT_THAT(refusal(), AllOf(HasSubstr("unfinished.jsonl:3"), HasSubstr("take the line away"))) << bad;
  }
}

// ---- the whole measurement -----------------------------------------------------------------------------------------

class ResumedMeasurement : public JournalTest {
 protected:
  ResumedMeasurement() {
    std::ofstream(folder / "pair.json") << kScenario;
    options.budget = Seconds(0.5);
    options.scenarios = {folder / "pair.json"};
    options.date = "2026-01-31";
    options.version = "test";
    options.journal = file();
    options.run = [this](const plan::Plan& plan) {
      ++runs;
      return std::optional(runtime::run_threads(plan));
    };
    options.resumes = [this](std::size_t found, std::size_t) { known = found; };
  }
  std::string measured() {
    const auto result = measure_host(options);
    EXPECT_TRUE(result.has_value());
    return calibration_text(result->calibration);
  }

  MeasureOptions options;
  int runs = 0;
  std::size_t known = 0;
};

TEST_F(ResumedMeasurement, TheFitIsAFunctionOfThePartsHoweverTheyCame) {
  const std::string expected = measured();
  const std::string whole = text();
  const std::vector<std::string> lines = whole_lines(whole);
  ASSERT_GT(lines.size(), 40U);
  EXPECT_EQ(known, 0U);
  std::mt19937_64 random(7);
  for (int trial = 0; trial < 8; ++trial) {
    // As a kill leaves it, its torn line cut off; then the other parts come, in any order, and another kill.
    const std::size_t cut = random() % whole.size();
    const std::size_t kept = std::max<std::size_t>(1, whole_lines(whole.substr(0, cut)).size());
    std::vector<std::string> missing(lines.begin() + static_cast<std::ptrdiff_t>(kept), lines.end());
    for (std::size_t i = missing.size(); i > 1; --i) std::swap(missing[i - 1], missing[random() % i]);
    std::string resumed;
    for (std::size_t i = 0; i < kept; ++i) resumed += lines[i] + "\n";
    for (const std::string& line : missing) resumed += line + "\n";
    write(resumed + lines.back().substr(0, random() % lines.back().size()));
    runs = 0;
    options.date = "2027-12-31";  // it began earlier
    EXPECT_EQ(measured(), expected) << "cut after " << cut << " bytes";
    EXPECT_EQ(runs, 0) << "nothing is measured again";
    EXPECT_EQ(known, lines.size() - 1);
  }
}

TEST_F(ResumedMeasurement, OnlyWhatIsMissingIsMeasured) {
  (void)measured();
  const int all = runs;
  const std::vector<std::string> lines = whole_lines(text());
  // Without the last five parts, which are of messages: a run each.
  std::string some;
  for (std::size_t i = 0; i + 5 < lines.size(); ++i) some += lines[i] + "\n";
  write(some + lines.back().substr(0, 20));
  runs = 0;
  double share = 0;
  Seconds left{};
  options.progress = [&](double gone, Seconds rest, const std::string&) {
    if (share == 0) {
      share = gone;
      left = rest;
    }
  };
  (void)measured();
  EXPECT_EQ(runs, 5);
  EXPECT_GT(all, 5);
  EXPECT_TRUE(text().starts_with(some)) << "what was there stays";
  EXPECT_EQ(whole_lines(text()).size(), lines.size());
  // Messages have a fifth of 0.5 s, in equal parts; what is known takes no time.
  const double parts = all;
  EXPECT_NEAR(left.value(), 0.1 * 5 / parts, 1e-9);
  EXPECT_NEAR(share, 1 - left.value() / 0.5, 1e-9);
}

}  // namespace
}  // namespace foretoken::calibrate
