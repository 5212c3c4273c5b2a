// The interval by draws, held to what can be worked out, and the first-order one held to it.
#include "tools/explain/monte_carlo.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "core/breakdown.hpp"
#include "tests/sim/tiny_program.hpp"
#include "tools/explain/interval.hpp"

namespace foretoken::explain {
namespace {

using foretoken::test::round_machine;
using foretoken::test::TinyProgram;
using plan::OpKind;

ModelErrors errors(const std::string& rows) {
  return ModelErrors::read(JsonDocument::from_text(
      R"({"kind": "model_errors", "schema_version": 1, "errors": [)" + rows + "]}", "errors.json"));
}

constexpr const char* kGemmAndAll =
    R"({"ops": ["gemm"], "p90": "10 %", "source": "invented"}, {"ops": ["*"], "p90": "20 %", "source": "invented"})";

Span first_order(const Trace& trace, const ModelErrors& errors) {
  return span_of(1, uncertainty_of(trace, nullptr, errors).relative);
}

// A normal variable is within 1.645 standard deviations nine times in ten, and log(1 + x) is x where x is small. Of 50
// % the ends are log(1.5) below and log(2) above: with sigma = 0.3365 the probabilities of being beyond are P(z <
// -1.205) = 11.4 % and P(z > 2.060) = 2.0 %: too wide, so sigma is a little less.
TEST(MonteCarlo, ALogNormalOfTheStatedError) {
  EXPECT_NEAR(log_deviation(0.001), 0.001 / 1.64485, 1e-8);
  const double sigma = log_deviation(0.5);
  const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
  EXPECT_NEAR(phi(std::log(2.0) / sigma) - phi(-std::log(1.5) / sigma), 0.9, 1e-9);
  EXPECT_LT(sigma, 0.3365);
}

/// A gemm of 6 us, then an all_reduce, and so on: a chain.
Trace chain() {
  TinyProgram program(2);
  const CommunicationId reduce = program.communication(OpKind::all_reduce, program.group(2));
  for (const std::int32_t rank : {0, 1}) {
    const std::size_t role = program.role({rank});
    program.compute(role, "work", 6);
    program.collective(role, "reduce", reduce, 2000);
    program.step_end(role);
  }
  return program.run(round_machine(1, 2), 1, 4);
}

// In a chain no path can change. The first-order ends differ by what 1 / (1 + h) and exp(-h) differ by, h^2 / 2, and by
// the draws: with 20,000 of them an end's standard error is about 0.2 % of a window that is 10 % wide.
TEST(MonteCarlo, AgreesWithFirstOrderOnAChain) {
  const Trace trace = chain();
  const ModelErrors table = errors(kGemmAndAll);
  const Span expected = first_order(trace, table);
  const DrawnInterval drawn = draw_interval(retimed(trace, table), table, {20'000, 1});
  EXPECT_NEAR(drawn.span.low, expected.low, 0.006);
  EXPECT_NEAR(drawn.span.high, expected.high, 0.006);
  EXPECT_NEAR(drawn.median, 1, 0.004);
}

// Two kernels side by side, 10 us each, off by 10 % (gemm) and 20 % (the other) independently; the step takes the
// longer one. First order sees the one that is on the path, and that it may be shorter; but then the other one decides.
TEST(MonteCarlo, SeesThatAnotherPathTakesOver) {
  TinyProgram program(2);
  const CommunicationId reduce = program.communication(OpKind::all_reduce, program.group(2));
  for (const std::int32_t rank : {0, 1}) {
    const std::size_t role = program.role({rank});
    program.compute(role, "work" + std::to_string(rank), 10);
    program.collective(role, "reduce", reduce, 1);
    program.step_end(role);
  }
  Trace trace = program.run(round_machine(1, 2), 1, 4);
  for (auto& op : trace.roles[1])
    if (op.kind == "gemm") op.kind = "attention";
  const ModelErrors table = errors(
      R"({"ops": ["gemm"], "p90": "10 %", "source": "invented"}, {"ops": ["attention"], "p90": "20 %", "source": "invented"},
         {"ops": ["*"], "p90": "0.1 %", "source": "invented"})");
  const Span expected = first_order(trace, table);
  const DrawnInterval drawn = draw_interval(retimed(trace, table), table, {20'000, 1});
  // Both have to be short for the step to be: P(max < x) = P(gemm < x) P(attention < x).
  EXPECT_GT(drawn.span.low, expected.low + 0.02);
  EXPECT_GT(drawn.median, 1.02);
}

TEST(MonteCarlo, TheSameSeedGivesTheSameInterval) {
  const Trace trace = chain();
  const ModelErrors table = errors(kGemmAndAll);
  const DrawnInterval one = draw_interval(retimed(trace, table), table, {500, 7});
  const DrawnInterval same = draw_interval(retimed(trace, table), table, {500, 7});
  const DrawnInterval other = draw_interval(retimed(trace, table), table, {500, 8});
  EXPECT_EQ(one.span.low, same.span.low);
  EXPECT_EQ(one.span.high, same.span.high);
  EXPECT_EQ(one.median, same.median);
  EXPECT_NE(one.span.low, other.span.low);
}

struct Subject {
  plan::Machine machine;
  plan::Plan plan;
  Calibration calibration;

  [[nodiscard]] Trace trace() const { return sim::simulate(plan, machine, calibration); }
  [[nodiscard]] WindowOf simulated(const ModelErrors& errors, const sim::SimulateOptions& options) const {
    return explain::simulated(plan, machine, calibration, options, errors);
  }
};

Subject load(const std::string& file, const std::vector<std::string>& settings = {}) {
  JsonDocument document = JsonDocument::from_file(file);
  for (const std::string& setting : settings) document.set(setting);
  const plan::Scenario scenario = plan::parse_scenario(document);
  const plan::Topology topology =
      plan::read_topology(scenario.cluster.topology, {scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(topology);
  plan::Plan plan = plan::make_plan(scenario, machine);
  return {std::move(machine), std::move(plan), read_calibration(topology.calibration)};
}

// Every op 1.7 times as long, alone and in company: so is the run, whatever shares links and whoever waits for whom.
// But kernels that take longer ask less of their GPU's memory, and where they share it they gain a little.
class SimulatedDraw : public testing::TestWithParam<const char*> {};

TEST_P(SimulatedDraw, ScalesAllOrNothing) {
  const Subject subject = load(GetParam(), {"measure.steps=4"});
  const ModelErrors one = errors(R"({"ops": ["*"], "p90": "10 %", "source": "invented"})");
  const sim::SimulateOptions options;
  const WindowOf window = subject.simulated(one, options);
  const SimTime predicted = break_down(subject.trace()).window();
  EXPECT_EQ(window({1.0}), predicted);
  EXPECT_NEAR(ratio(window({1.7}), predicted), 1.7, 1e-3);
}

// One kind of op after the other, 1.4 times as long: as the trace timed anew, so no kind has the factor of another. By
// 1 % of what it adds and a little of the run, for links that are shared otherwise.
TEST_P(SimulatedDraw, AgreesWithTheTraceTimedAnewKindByKind) {
  const Subject subject = load(GetParam(), {"measure.steps=4"});
  const Trace trace = subject.trace();
  const SimTime predicted = break_down(trace).window();
  const sim::SimulateOptions options;
  int kinds = 0;
  for (const char* kind : {"gemm", "grouped_gemm", "all_reduce", "all_gather", "send", "dispatch", "combine"}) {
    const std::string ops = kind == std::string("send") ? R"("send", "recv")" : fmt::format("\"{}\"", kind);
    const ModelErrors two = errors(fmt::format(
        R"({{"ops": [{}], "p90": "10 %", "source": "invented"}}, {{"ops": ["*"], "p90": "20 %", "source": "invented"}})",
        ops));
    const std::vector<double> factors{1.4, 1.0};
    const double again = ratio(subject.simulated(two, options)(factors), predicted) - 1;
    const double anew = ratio(retimed(trace, two)(factors), predicted) - 1;
    EXPECT_NEAR(again, anew, 0.02 * anew + 1e-3) << kind;
    if (again > 0.002) ++kinds;
  }
  EXPECT_GE(kinds, 3);
}

INSTANTIATE_TEST_SUITE_P(Deployments, SimulatedDraw,
                         testing::Values("scenarios/paper/baseline-tp8-pp2.json", "scenarios/paper/large-ep64.json"));

}  // namespace
}  // namespace foretoken::explain
