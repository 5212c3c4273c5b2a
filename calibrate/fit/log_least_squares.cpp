#include "calibrate/fit/log_least_squares.hpp"

#include <fmt/format.h>

#include <Eigen/Dense>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double kSoftThreshold = 0.1;
constexpr double kDifference = 1e-5;
constexpr double kDampingStart = 1e-2;
constexpr double kDampingMax = 1e12;
constexpr double kCostTolerance = 1e-12;
constexpr int kIterationsMax = 500;
// Parameters may leave their first guess by this factor, so that one that is not identifiable does not run away.
constexpr double kLogReach = 9.3;  // about 10^4

class Problem {
 public:
  Problem(std::span<const double> measured, const PredictAll& predict) : measured_(measured), predict_(predict) {}

  [[nodiscard]] VectorXd residuals(const VectorXd& log_parameters) const {
    const VectorXd parameters = log_parameters.array().exp();
    VectorXd out(static_cast<Index>(measured_.size()));
    predict_({parameters.data(), static_cast<std::size_t>(parameters.size())}, {out.data(), measured_.size()});
    for (Index i = 0; i < out.size(); ++i) {
      FORETOKEN_CHECK(std::isfinite(out[i]) && out[i] > 0.0, "a fitted model predicted no positive number");
      out[i] = std::log(out[i] / measured_[static_cast<std::size_t>(i)]);
    }
    return out;
  }

  [[nodiscard]] MatrixXd jacobian(const VectorXd& at) const {
    MatrixXd slopes(static_cast<Index>(measured_.size()), at.size());
    for (Index j = 0; j < at.size(); ++j) {
      VectorXd up = at;
      VectorXd down = at;
      up[j] += kDifference;
      down[j] -= kDifference;
      slopes.col(j) = (residuals(up) - residuals(down)) / (2.0 * kDifference);
    }
    return slopes;
  }

 private:
  std::span<const double> measured_;
  const PredictAll& predict_;
};

double cost_of(const VectorXd& residuals) {
  const auto scaled = residuals.array() / kSoftThreshold;
  return (2.0 * kSoftThreshold * kSoftThreshold * ((1.0 + scaled.square()).sqrt() - 1.0)).sum();
}

/// rho'(r) / 2r: how much a residual counts while its neighbourhood is treated as quadratic.
VectorXd weights_of(const VectorXd& residuals) { return (1.0 + (residuals.array() / kSoftThreshold).square()).rsqrt(); }

}  // namespace

std::vector<double> fit_log_least_squares(std::vector<double> start, std::span<const double> measured,
                                          const PredictAll& predict) {
  if (measured.size() < start.size()) {
    throw Error(ErrorCode::invalid_input, fmt::format("{} measurements cannot fix {} parameters; provide more rows",
                                                      measured.size(), start.size()));
  }
  for (const double value : start) FORETOKEN_CHECK(value > 0.0, "first guesses are positive");
  const Problem problem(measured, predict);
  const VectorXd origin = Eigen::Map<VectorXd>(start.data(), static_cast<Index>(start.size())).array().log();
  VectorXd at = origin;
  VectorXd residuals = problem.residuals(at);
  double cost = cost_of(residuals);
  double damping = kDampingStart;

  for (int iteration = 0; iteration < kIterationsMax && damping < kDampingMax; ++iteration) {
    const MatrixXd slopes = problem.jacobian(at);
    const VectorXd weights = weights_of(residuals);
    const MatrixXd normal = slopes.transpose() * weights.asDiagonal() * slopes;
    const VectorXd downhill = -slopes.transpose() * weights.asDiagonal() * residuals;
    // A step that does not help is damped more and tried again from the same place.
    for (; damping < kDampingMax; damping *= 4.0) {
      MatrixXd damped = normal;
      damped.diagonal() += damping * (normal.diagonal().array() + 1e-9).matrix();
      const VectorXd step = damped.ldlt().solve(downhill);
      const VectorXd next =
          (at + step).cwiseMax((origin.array() - kLogReach).matrix()).cwiseMin((origin.array() + kLogReach).matrix());
      const VectorXd next_residuals = problem.residuals(next);
      const double next_cost = cost_of(next_residuals);
      if (next_cost < cost) {
        const bool settled = cost - next_cost < kCostTolerance * (1.0 + cost);
        at = next;
        residuals = next_residuals;
        cost = next_cost;
        damping = settled ? kDampingMax : damping / 4.0;
        break;
      }
    }
  }
  std::vector<double> parameters(start.size());
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] = std::exp(at[static_cast<Index>(i)]);
  return parameters;
}

}  // namespace foretoken::calibrate
