#include "calibrate/fit/log_least_squares.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

const std::vector<double> kSizes{1e3, 1e4, 1e5, 1e6, 1e7, 1e8};

/// latency + size / rate
void line(std::span<const double> p, std::span<double> out) {
  std::transform(kSizes.begin(), kSizes.end(), out.begin(), [&](double size) { return p[0] + size / p[1]; });
}

std::vector<double> line_at(double latency, double rate) {
  std::vector<double> out(kSizes.size());
  line(std::vector<double>{latency, rate}, out);
  return out;
}

TEST(LogLeastSquares, RecoversWhatMadeTheData) {
  // Parameters ten orders of magnitude apart, started a factor of 50 away.
  const std::vector<double> found = fit_log_least_squares({2.5e-4, 2e9}, line_at(5e-6, 1e11), line);
  EXPECT_NEAR(found[0] / 5e-6, 1.0, 1e-5);
  EXPECT_NEAR(found[1] / 1e11, 1.0, 1e-5);
}

TEST(LogLeastSquares, OneOutlierDoesNotBendTheFit) {
  std::vector<double> measured = line_at(5e-6, 1e11);
  measured[1] *= 10.0;
  const std::vector<double> found = fit_log_least_squares({1e-5, 2e11}, measured, line);
  // Three sizes feel the latency: plain least squares of logarithms would put it near 10^(1/3) = 2.2 times too high.
  EXPECT_NEAR(found[0] / 5e-6, 1.0, 0.1);
  EXPECT_NEAR(found[1] / 1e11, 1.0, 0.05);
}

TEST(LogLeastSquares, SameInputSameResult) {
  const std::vector<double> measured = line_at(3e-6, 7e10);
  EXPECT_EQ(fit_log_least_squares({1e-5, 2e11}, measured, line), fit_log_least_squares({1e-5, 2e11}, measured, line));
}

TEST(LogLeastSquares, LeavesWhatNoMeasurementFeels) {
  const auto ignores_second = [](std::span<const double> p, std::span<double> out) {
    std::fill(out.begin(), out.end(), p[0]);
  };
  const std::vector<double> found = fit_log_least_squares({1.0, 3.0}, std::vector<double>{2.0, 2.0}, ignores_second);
  EXPECT_NEAR(found[0], 2.0, 1e-6);
  EXPECT_DOUBLE_EQ(found[1], 3.0);
}

TEST(LogLeastSquares, WantsAsManyMeasurementsAsParameters) {
  EXPECT_THROW((void)fit_log_least_squares({1.0, 1.0}, std::vector<double>{1.0}, line), Error);
}

}  // namespace
}  // namespace foretoken::calibrate
