// Fitting positive parameters to positive measurements by their ratio.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace foretoken::calibrate {

/// Predicts every measurement, in order, from the parameters.
using PredictAll = std::function<void(std::span<const double> parameters, std::span<double> predictions)>;

/// Parameters p > 0 that minimise
///
///   sum_i rho(log(predicted_i(p) / measured_i)),   rho(r) = 2 c^2 (sqrt(1 + (r/c)^2) - 1),   c = 0.1
///
/// by Levenberg-Marquardt in log p: latencies and bandwidths differ by ten orders of magnitude and none is negative.
/// Ratios, because a prediction 10 % off is as bad at 10 us as at 10 ms; rho grows linearly beyond 10 %, so that single
/// outliers of a benchmark do not bend the fit. Same input, same result.
///
/// @param start     first guess, all > 0; also the scale of each parameter
/// @param measured  all > 0, at least as many as parameters
/// @throws Error{invalid_input} with too few measurements
/// Limits: finds the minimum nearest to the start; a parameter that no measurement feels stays where it started.
/// Example: measured {2, 4, 8} us at 1, 2, 4 KB and predicted = bytes / p gives p = 0.5 GB/s.
std::vector<double> fit_log_least_squares(std::vector<double> start, std::span<const double> measured,
                                          const PredictAll& predict);

}  // namespace foretoken::calibrate
