#include "tools/predict/score.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/predict/files.hpp"

namespace foretoken::predict {
namespace {

using test::answers_to;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A GEMM that is measured to take `ratio` times as long as it is predicted to.
std::string line(Predictor& predictor, double ratio, const std::string& more = "") {
  const std::string op = R"({"op":"gemm","m":128,"n":8192,"k":4096)" + more;
  const double us = predictor(test::op_of(op + "}")).time.value() * 1e6;
  return op + fmt::format(R"(,"measured_us":{}}})", us * ratio) + "\n";
}

ScoreTable score_of(Predictor& predictor, const std::string& text, std::vector<std::string> by) {
  Score score(std::move(by));
  for (const Answer& answer : answers_to(text, predictor)) score.add(answer, predictor);
  return score.table();
}

TEST(Score, IsOfSignedErrors) {
  // Measured 1/1.5, 1/1.1, 1/1.02, 1/0.98 and 1/0.6 of the prediction: errors +0.5, +0.1, +0.02, -0.02, -0.4. Median
  // of them +0.02, of their sizes (0.02 0.02 0.1 0.4 0.5) 0.1; nine tenths of five rows are five: 0.5.
  Predictor predictor = test::shipped();
  std::string text;
  for (const double predicted : {1.5, 1.1, 1.02, 0.98, 0.6}) text += line(predictor, 1 / predicted);
  const ScoreTable table = score_of(predictor, text, {"op", "dtype", "framework"});
  ASSERT_EQ(table.families.size(), 1U);
  const FamilyScore& score = table.families[0];
  EXPECT_THAT(score.family, ElementsAre("gemm", "bf16", "vllm"));
  EXPECT_EQ(score.rows, 5);
  EXPECT_NEAR(score.median, 0.02, 1e-9);
  EXPECT_NEAR(score.median_abs, 0.1, 1e-9);
  EXPECT_NEAR(score.p90_abs, 0.5, 1e-9);
  EXPECT_NEAR(score.worst, 0.5, 1e-9);
  EXPECT_EQ(score.worst_where, "ops:1");
  // The fit's p90 is 9 %: two are within.
  EXPECT_EQ(score.with_interval, 5);
  EXPECT_EQ(score.covered, 2);
}

TEST(Score, FamiliesAreMadeByAnyMembers) {
  Predictor predictor = test::shipped();
  const std::string text = line(predictor, 1, R"(,"gpu":1,"set":"held out")") +
                           line(predictor, 0.5, R"(,"gpu":1,"set":"fitted")") +
                           line(predictor, 2, R"(,"gpu":2,"set":"fitted")") + line(predictor, 2);
  const ScoreTable table = score_of(predictor, text, {"set", "gpu"});
  ASSERT_EQ(table.families.size(), 4U);
  EXPECT_THAT(table.families[0].family, ElementsAre("-", "-"));
  EXPECT_THAT(table.families[1].family, ElementsAre("fitted", "1"));
  EXPECT_NEAR(table.families[1].median, 1, 1e-9);
  EXPECT_NEAR(table.families[2].median, -0.5, 1e-9);
  EXPECT_EQ(table.all.rows, 4);
  const std::string shown = score_text(table);
  EXPECT_THAT(shown, HasSubstr("held out"));
  EXPECT_THAT(shown, HasSubstr("all"));
  EXPECT_THAT(shown, HasSubstr("+100.0 % (ops:2)"));
}

TEST(Score, WantsMeasurements) {
  Predictor predictor = test::shipped();
  const auto refusal = [&](const std::string& text) -> std::string {
    try {
      score_of(predictor, text, {"op"});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const std::string gemm = R"({"op":"gemm","m":128,"n":8192,"k":4096)";
  EXPECT_THAT(refusal(gemm + "}"), HasSubstr("ops:1: the key \"measured_us\" is missing"));
  EXPECT_THAT(refusal(gemm + R"(,"measured_us":"3"})"), HasSubstr("ops:1#/measured_us: \"3\" is not a number"));
  EXPECT_THAT(refusal(gemm + R"(,"measured_us":0})"), HasSubstr("out of range"));
  EXPECT_THAT(refusal(gemm + R"(,"measured_us":-1})"), HasSubstr("out of range"));
  EXPECT_THAT(refusal(R"({"op":"all_gather","ranks":1,"bytes":8,"measured_us":1})"), HasSubstr("takes no time"));
}

}  // namespace
}  // namespace foretoken::predict
