#include "tools/predict/answer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/predict/files.hpp"

namespace foretoken::predict {
namespace {

using nlohmann::ordered_json;
using test::answers_to;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const std::string kGemm = R"({"op":"gemm","m":128,"n":8192,"k":4096})";

TEST(Interval, HoldsNineInTenMeasurements) {
  // |predicted / measured - 1| <= 0.25 of a prediction of 100 us: 80 us (125 %) to 133.3 us (75 %).
  sim::Estimate estimate{Seconds(100e-6), Provenance::interpolated};
  EXPECT_FALSE(interval_of(estimate).has_value());
  estimate.error_p90 = 0.25;
  const Interval interval = interval_of(estimate).value();
  EXPECT_NEAR(interval.low.value() * 1e6, 80, 1e-9);
  EXPECT_NEAR(interval.high.value().value() * 1e6, 100 / 0.75, 1e-9);
  EXPECT_TRUE(interval.holds(Seconds(81e-6)));
  EXPECT_FALSE(interval.holds(Seconds(79e-6)));
  EXPECT_FALSE(interval.holds(Seconds(134e-6)));
  // Predictions that may be twice too long: measurements from half of them on, without an end.
  estimate.error_p90 = 1.0;
  EXPECT_NEAR(interval_of(estimate)->low.value() * 1e6, 50, 1e-9);
  EXPECT_FALSE(interval_of(estimate)->high.has_value());
  EXPECT_TRUE(interval_of(estimate)->holds(Seconds(1)));
}

TEST(Answers, AreTheLinesThemselvesAndMore) {
  Predictor predictor = test::shipped();
  const auto all =
      answers_to(R"({"id":"a","op":"gemm","zeta":[1,{"x":null}],"m":128,"n":8192,"k":4096,"b":1.5})", predictor);
  ASSERT_THAT(all, SizeIs(1));
  const std::string text = all[0].answered().dump();
  EXPECT_THAT(text, testing::StartsWith(
                        R"({"id":"a","op":"gemm","zeta":[1,{"x":null}],"m":128,"n":8192,"k":4096,"b":1.5,"time_us":)"));
  const ordered_json answer = all[0].answered();
  EXPECT_EQ(answer["provenance"], "interpolated");
  EXPECT_LT(answer["low_us"], answer["time_us"]);
  EXPECT_GT(answer["high_us"], answer["time_us"]);
  // Whole picoseconds.
  EXPECT_NEAR(answer["time_us"].get<double>(), all[0].estimate->time.value() * 1e6, 0.6e-6);
}

TEST(Answers, ReplaceAnswersOfBefore) {
  Predictor predictor = test::shipped();
  const ordered_json once = answers_to(kGemm, predictor).at(0).answered();
  EXPECT_EQ(answers_to(once.dump(), predictor).at(0).answered().dump(), once.dump());
  const ordered_json failed =
      answers_to(R"({"op":"gemm","m":0,"n":1,"k":1,"time_us":3,"provenance":"measured"})", predictor).at(0).answered();
  EXPECT_FALSE(failed.contains("time_us"));
  EXPECT_FALSE(failed.contains("provenance"));
  EXPECT_TRUE(failed.contains("error"));
}

TEST(Answers, UnknownErrorsAreNull) {
  Predictor predictor = test::shipped();
  const auto answer = answers_to(R"({"op":"all_gather","ranks":8,"bytes":65536})", predictor).at(0).answered();
  EXPECT_TRUE(answer["low_us"].is_null());
  EXPECT_TRUE(answer["high_us"].is_null());
}

TEST(Answers, BadLinesLoseNoOther) {
  Predictor predictor = test::shipped();
  // Blank lines count, and are not answered; neither line ends nor their absence at the end matter.
  const std::string text = kGemm +
                           "\r\n\n  \t\n{\"op\":\"gemm\",\"m\":\n[]\nnot json\n{\"op\":\"gemm\",\"m\":1,\"m\":2}\n" +
                           "{\"op\":\"gemm\",\"m\":NaN,\"n\":1,\"k\":1}\n\xff\n" + std::string(1, '\0') + "\n" + kGemm;
  const auto all = answers_to(text, predictor);
  ASSERT_THAT(all, SizeIs(9));
  EXPECT_TRUE(all.front().estimate.has_value());
  EXPECT_TRUE(all.back().estimate.has_value());
  EXPECT_EQ(all.back().where, "ops:11");
  EXPECT_THAT(all[1].error, HasSubstr("ops:4: not valid JSON at column 18 (the text ends too early)"));
  EXPECT_THAT(all[2].error, HasSubstr("ops:5: [] is not an object"));
  EXPECT_THAT(all[3].error, HasSubstr("ops:6: not valid JSON at column 2"));
  EXPECT_THAT(all[4].error, HasSubstr("ops:7#/m: the key \"m\" appears twice"));
  for (std::size_t i = 1; i + 1 < all.size(); ++i) {
    EXPECT_FALSE(all[i].estimate.has_value()) << i;
    const ordered_json answer = all[i].answered();
    EXPECT_EQ(answer.at("error"), all[i].error);
    EXPECT_EQ(ordered_json::parse(answer.dump()), answer);  // itself a line of JSON
  }
}

TEST(Answers, ModelsErrorsNameTheLineToo) {
  Predictor predictor = test::shipped();
  const auto all = answers_to(kGemm + "\n" + R"({"op":"gemm","m":1,"n":1,"k":1,"framework":"x"})", predictor);
  EXPECT_THAT(all.at(1).error, testing::StartsWith("ops:2: the calibration has no kernels of \"x\""));
}

TEST(Answers, LinesWithoutEndAreCut) {
  Predictor predictor = test::shipped();
  const auto all = answers_to("{\"op\":\"" + std::string(3 << 20, 'x') + "\n" + kGemm + "\n", predictor);
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_THAT(all[0].error, HasSubstr("ops:1: the line is longer than 1024 KiB"));
  EXPECT_TRUE(all[1].estimate.has_value());
}

TEST(Answers, NothingHasNone) {
  Predictor predictor = test::shipped();
  EXPECT_THAT(answers_to("", predictor), SizeIs(0));
  EXPECT_THAT(answers_to("\n\n", predictor), SizeIs(0));
}

}  // namespace
}  // namespace foretoken::predict
