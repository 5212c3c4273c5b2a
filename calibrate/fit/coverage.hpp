// Do 90 % intervals have 90 % of what no fit saw?
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace foretoken::calibrate {

/// Predicted / measured - 1 of rows that the fit did not see, with the fold that each was held out in.
struct HeldOutErrors {
  std::vector<double> errors;
  std::vector<std::int64_t> folds;

  void add(double error, std::int64_t fold) {
    errors.push_back(error);
    folds.push_back(fold);
  }
};

struct Coverage {
  std::string family;
  std::int64_t rows = 0;
  std::int64_t covered = 0;  ///< of them
  std::int64_t folds = 0;
  double p_value = 1;  ///< of so many or a less likely number, if each row were covered by itself with a chance of 90 %
};

/// An interval's half-width is the 90th percentile of |error|, nearest rank from above, over the rows of all other
/// folds: neither the fit nor the width has seen a row that it is tried on. A row is covered if |its error| is not
/// above it.
///
/// @throws Error{invalid_input} with fewer than two folds
/// Limits: rows of one group share a kernel and are right or wrong together, so that the binomial test, which takes
/// them for independent, rejects more than it should.
Coverage coverage_of(std::string family, const HeldOutErrors& held_out);

/// The exact two-sided binomial test: the chance of all outcomes that are not likelier than `successes`.
/// @param chance in (0, 1)
double binomial_p_value(std::int64_t successes, std::int64_t trials, double chance);

/// How many of several tests reject together: of 20 tests of what is true, one is expected below 5 %; here the chance
/// that any is rejected wrongly is at most `level`, whether or not the tests depend on each other.
/// Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
/// @param p_values, level  in [0, 1]
std::int64_t rejected_together(std::vector<double> p_values, double level);

}  // namespace foretoken::calibrate
