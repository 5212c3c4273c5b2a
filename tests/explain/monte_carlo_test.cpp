// The interval by draws, held to what can be worked out, and the first-order one held to it.
#include "tools/explain/monte_carlo.hpp"

#include <gtest/gtest.h>

#include <cmath>

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
  const DrawnInterval drawn = draw_interval(trace, table, {20'000, 1});
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
  const DrawnInterval drawn = draw_interval(trace, table, {20'000, 1});
  // Both have to be short for the step to be: P(max < x) = P(gemm < x) P(attention < x).
  EXPECT_GT(drawn.span.low, expected.low + 0.02);
  EXPECT_GT(drawn.median, 1.02);
}

TEST(MonteCarlo, TheSameSeedGivesTheSameInterval) {
  const Trace trace = chain();
  const ModelErrors table = errors(kGemmAndAll);
  const DrawnInterval one = draw_interval(trace, table, {500, 7});
  const DrawnInterval same = draw_interval(trace, table, {500, 7});
  const DrawnInterval other = draw_interval(trace, table, {500, 8});
  EXPECT_EQ(one.span.low, same.span.low);
  EXPECT_EQ(one.span.high, same.span.high);
  EXPECT_EQ(one.median, same.median);
  EXPECT_NE(one.span.low, other.span.low);
}

}  // namespace
}  // namespace foretoken::explain
