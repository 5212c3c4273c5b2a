// Ten kinds of injected cause: the parts and the findings add up to the difference in TPOT, and the cause is named
// first.
#include "tools/explain/diagnosis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/explain/hand_results.hpp"
#include "tools/explain/compare.hpp"

namespace foretoken::explain {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kRanks = 4;
constexpr std::int64_t kSteps = 3;

/// A step of each rank, in picoseconds:
///
///   qkv (gemm), a small all_reduce, experts (grouped_gemm), a large all_reduce beside dense (gemm), norm
///
/// All-reduces begin when the last rank is there. With overlap the dense GEMM does not wait for the large one.
struct Machine {
  std::int64_t gemm = 40'000;
  std::int64_t small = 2'000;
  std::int64_t experts = 60'000;
  std::int64_t large = 30'000;
  std::int64_t norm = 10'000;
  std::int64_t gap = 0;  // before each compute op
  bool overlap = true;
  std::vector<std::int64_t> percent = std::vector<std::int64_t>(kRanks, 100);          // of all compute, by rank
  std::vector<std::int64_t> experts_percent = std::vector<std::int64_t>(kRanks, 100);  // of experts
  std::int64_t clock_percent = 100;                                                    // of every time
};

std::vector<std::vector<TraceOp>> program() {
  return {{{"l0.qkv", "gemm", "compute", false, 0, 0},
           {"l0.small", "all_reduce", "communication", true, 0, 0},
           {"l0.experts", "grouped_gemm", "compute", false, 0, 0},
           {"l0.large", "all_reduce", "communication", true, 0, 0},
           {"l0.dense", "gemm", "compute", false, 0, 0},
           {"l0.norm", "norm", "compute", false, 0, 0},
           {"end", "step_end", "compute", false, -1, 0}}};
}

class Run {
 public:
  explicit Run(const Machine& machine) : machine_(machine) {
    trace_ = test::empty_trace(kRanks, kSteps);
    trace_.roles = program();
    std::vector<std::int64_t> now(kRanks, 100'000);
    for (std::int64_t rank = 0; rank < kRanks; ++rank) add(rank, 0, 6, now[rank], now[rank], now[rank]);
    for (std::int64_t step = 1; step <= kSteps; ++step) now = one_step(step, now);
  }

  [[nodiscard]] Trace trace() const { return trace_; }

 private:
  std::vector<std::int64_t> one_step(std::int64_t step, std::vector<std::int64_t> now) {
    for (std::int64_t rank = 0; rank < kRanks; ++rank) now[rank] = compute(rank, step, 0, now[rank], machine_.gemm);
    now = meet(step, 1, now, machine_.small);
    for (std::int64_t rank = 0; rank < kRanks; ++rank)
      now[rank] = compute(rank, step, 2, now[rank], machine_.experts * machine_.experts_percent[index(rank)] / 100);
    const std::vector<std::int64_t> reduced = meet(step, 3, now, machine_.large);
    for (std::int64_t rank = 0; rank < kRanks; ++rank) {
      const std::int64_t from = machine_.overlap ? now[rank] : reduced[rank];
      const std::int64_t dense = compute(rank, step, 4, from, 3 * machine_.gemm / 4);
      const std::int64_t normed = compute(rank, step, 5, std::max(dense, reduced[rank]), machine_.norm);
      add(rank, step, 6, normed, normed, normed);
      now[rank] = normed;
    }
    return now;
  }

  std::int64_t compute(std::int64_t rank, std::int64_t step, std::int32_t op, std::int64_t from, std::int64_t time) {
    const std::int64_t begun = from + machine_.gap;
    const std::int64_t ended = begun + time * machine_.percent[index(rank)] / 100;
    add(rank, step, op, begun, begun, ended);
    return ended;
  }

  std::vector<std::int64_t> meet(std::int64_t step, std::int32_t op, const std::vector<std::int64_t>& posted,
                                 std::int64_t time) {
    const std::int64_t met = *std::max_element(posted.begin(), posted.end());
    for (std::int64_t rank = 0; rank < kRanks; ++rank) add(rank, step, op, posted[index(rank)], met, met + time);
    return std::vector<std::int64_t>(kRanks, met + time);
  }

  void add(std::int64_t rank, std::int64_t step, std::int32_t op, std::int64_t posted, std::int64_t begun,
           std::int64_t ended) {
    const auto at = [&](std::int64_t time) { return SimTime(time * machine_.clock_percent / 100); };
    trace_.rank.push_back(static_cast<std::int32_t>(rank));
    trace_.step.push_back(static_cast<std::int32_t>(step));
    trace_.op.push_back(op);
    trace_.posted.push_back(at(posted));
    trace_.begun.push_back(at(begun));
    trace_.ended.push_back(at(ended));
    trace_.provenance.push_back(Provenance::measured);
  }

  static std::size_t index(std::int64_t rank) { return static_cast<std::size_t>(rank); }

  Machine machine_;
  Trace trace_;
};

StoredResult result_of(const Machine& machine) {
  StoredResult result = test::steady({}, kSteps);
  result.trace = Run(machine).trace();
  const Breakdown breakdown = break_down(result.trace);
  result.slowest_rank = breakdown.rank;
  const Seconds step = breakdown.per_step(breakdown.window());
  result.tpot = result.step = {step, step, step, step};
  result.tps = 8 / step.value();
  return result;
}

struct Injection {
  const char* name;
  std::function<void(Machine&)> into;
  Culprit culprit;
  const char* of;
  const char* pointer = "";   // of the scenario, where that differs
  nlohmann::json value = {};  // of A; B has "as planned"
};

void PrintTo(const Injection& injection, std::ostream* out) { *out << injection.name; }

class Injected : public testing::TestWithParam<Injection> {};

TEST_P(Injected, PartsAddUpAndTheCauseIsNamedFirst) {
  const Injection& injection = GetParam();
  Machine damaged;
  injection.into(damaged);
  StoredResult a = result_of(damaged), b = result_of({});
  if (*injection.pointer != '\0') {
    a.scenario_document[nlohmann::json::json_pointer(injection.pointer)] = injection.value;
    b.scenario_document[nlohmann::json::json_pointer(injection.pointer)] = "as planned";
    a.plan_hash = std::string(32, 'f');
  }
  CompareOptions options;
  options.across = true;
  const Comparison comparison = compare(a, b, options);
  const Waterfall& tpot = comparison.tpot;

  SimTime parts(0), findings(0);
  for (const Part& part : tpot.parts) parts += part.difference();
  for (const Finding& finding : comparison.findings) findings += finding.explains;
  EXPECT_EQ(parts, tpot.difference());
  EXPECT_EQ(findings, tpot.difference());
  const double picoseconds = (a.tpot.mean - b.tpot.mean).value() * 1e12 * static_cast<double>(tpot.steps);
  EXPECT_NEAR(picoseconds, static_cast<double>(tpot.difference().value()), 1);

  ASSERT_FALSE(comparison.findings.empty());
  EXPECT_EQ(name_of(comparison.findings.front().culprit), name_of(injection.culprit));
  EXPECT_EQ(comparison.findings.front().of, injection.of);
  if (*injection.pointer == '\0') {
    EXPECT_THAT(comparison.configuration, testing::IsEmpty());
  } else {
    ASSERT_EQ(comparison.configuration.size(), 1u);
    EXPECT_THAT(comparison.configuration.front(), HasSubstr(injection.pointer));
  }
}

INSTANTIATE_TEST_SUITE_P(
    TenKinds, Injected,
    testing::Values(Injection{"slower_gemms", [](Machine& m) { m.gemm = m.gemm * 13 / 10; }, Culprit::kernels, "gemm"},
                    Injection{"slower_link",
                              [](Machine& m) {
                                m.small = m.small * 3 / 2;
                                m.large = m.large * 3 / 2;
                              },
                              Culprit::link, ""},
                    Injection{"extra_latency",
                              [](Machine& m) {
                                m.small += 5'000;
                                m.large += 5'000;
                              },
                              Culprit::latency, ""},
                    Injection{"hot_expert", [](Machine& m) { m.experts_percent[2] = 180; }, Culprit::hot_expert,
                              "rank 2"},
                    Injection{"straggler_rank", [](Machine& m) { m.percent[1] = 150; }, Culprit::straggler, "rank 1"},
                    Injection{"lost_overlap", [](Machine& m) { m.overlap = false; }, Culprit::overlap, ""},
                    Injection{"launch_gaps", [](Machine& m) { m.gap = 4'000; }, Culprit::gaps, ""},
                    Injection{"wrong_dtype",
                              [](Machine& m) {
                                m.experts *= 2;
                                m.gemm = m.gemm * 3 / 2;
                              },
                              Culprit::kernels, "grouped_gemm", "/model/dtype/weights", "fp32"},
                    Injection{"smaller_batch",
                              [](Machine& m) {
                                m.experts = m.experts * 6 / 10;
                                m.gemm = m.gemm * 9 / 10;
                                m.small /= 2;
                                m.large /= 2;
                              },
                              Culprit::kernels, "grouped_gemm", "/workload/sequences", 512},
                    Injection{"clock_drift", [](Machine& m) { m.clock_percent = 101; }, Culprit::clock, ""}),
    [](const auto& tested) { return std::string(tested.param.name); });

// The findings say how much: 1.5 times as long in proportion, 5 ns each, a rank that takes 1.8 times as long in
// experts.
TEST(Diagnosis, SaysHowMuch) {
  const auto first = [](const std::function<void(Machine&)>& into) {
    Machine damaged;
    into(damaged);
    return compare(result_of(damaged), result_of({}), {}).findings.front();
  };
  const auto slower = [](Machine& m) {
    m.small = 3'000;
    m.large = 45'000;
  };
  const auto later = [](Machine& m) {
    m.small = 7'000;
    m.large = 35'000;
  };
  EXPECT_NEAR(first(slower).factor, 1.5, 1e-9);
  EXPECT_NEAR(first(later).each.value(), 5e-9, 1e-15);
  EXPECT_NEAR(first([](Machine& m) { m.percent[1] = 150; }).factor, 1.5, 1e-9);
  EXPECT_NEAR(first([](Machine& m) { m.clock_percent = 101; }).factor, 1.01, 1e-6);
}

// A compared with a damaged B: the same cause, with the other sign, and what is late is said to be B's.
TEST(Diagnosis, WhatIsWrongWithBIsNamedToo) {
  const auto first = [](const std::function<void(Machine&)>& into) {
    Machine damaged;
    into(damaged);
    const Comparison comparison = compare(result_of({}), result_of(damaged), {});
    SimTime sum(0);
    for (const Finding& finding : comparison.findings) sum += finding.explains;
    EXPECT_EQ(sum, comparison.tpot.difference());
    EXPECT_LT(comparison.findings.front().explains, SimTime(0));
    return comparison.findings.front();
  };
  const Finding straggler = first([](Machine& m) { m.percent[1] = 150; });
  EXPECT_EQ(name_of(straggler.culprit), name_of(Culprit::straggler));
  EXPECT_EQ(straggler.of, "rank 1 of B");
  EXPECT_NEAR(straggler.factor, 1 / 1.5, 1e-9);
  const Finding hot = first([](Machine& m) { m.experts_percent[2] = 180; });
  EXPECT_EQ(name_of(hot.culprit), name_of(Culprit::hot_expert));
  EXPECT_EQ(hot.of, "rank 2 of B");
  EXPECT_EQ(name_of(first([](Machine& m) { m.gap = 4'000; }).culprit), name_of(Culprit::gaps));
  EXPECT_EQ(name_of(first([](Machine& m) { m.overlap = false; }).culprit), name_of(Culprit::overlap));
}

// 12 ns instead of 10, all of them: 1.2 times as long and 2 ns more are one and the same.
TEST(Diagnosis, OfOneLengthBandwidthAndLatencyAreBothNamed) {
  Machine before, after;
  before.small = before.large = 10'000;
  after.small = after.large = 12'000;
  before.overlap = after.overlap = false;
  const Finding finding = compare(result_of(after), result_of(before), {}).findings.front();
  EXPECT_EQ(name_of(finding.culprit), name_of(Culprit::communication));
  EXPECT_NEAR(finding.factor, 1.2, 1e-9);
  EXPECT_NEAR(finding.each.value(), 2e-9, 1e-15);
}

TEST(Diagnosis, OfEqualResultsThereIsNone) {
  const StoredResult result = result_of({});
  EXPECT_THAT(compare(result, result, {}).findings, testing::IsEmpty());
}

// Half as many ranks cannot be joined rank by rank; the sum is exact all the same.
TEST(Diagnosis, AcrossProgramsAddsUp) {
  Machine slow;
  slow.gemm *= 2;
  const StoredResult a = result_of(slow), b = test::steady({}, 2);
  CompareOptions options;
  options.across = true;
  const Comparison comparison = compare(a, b, options);
  SimTime sum(0);
  for (const Finding& finding : comparison.findings) sum += finding.explains;
  EXPECT_EQ(sum, comparison.tpot.difference());
  EXPECT_EQ(comparison.tpot.steps, 6);
}

}  // namespace
}  // namespace foretoken::explain
