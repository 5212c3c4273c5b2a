// What is said of how well the network's fits predict: residuals by family and set of rows, and the coverage of
// intervals.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/coverage.hpp"
#include "calibrate/fit/network_families.hpp"

namespace foretoken::calibrate {

/// Errors predicted / measured - 1 over one set of rows.
struct NetworkResidual {
  std::string family;     // "ring all_gather", "dispatch", …
  std::string subset;     // which rows: "8 ranks, >= 1 MiB", …
  bool held_out = false;  // the fit that predicted them did not see them
  std::int64_t rows = 0;
  double median = 0.0;       // of the absolute error
  double p90 = 0.0;          // of the absolute error
  double signed_mean = 0.0;  // positive: predicted too slow
};

/// Predicted / measured - 1 of the rows in which `op` was timed, or of all.
std::vector<double> errors_of(const sim::NetworkCost& cost, sim::ExchangeOp op,
                              const std::vector<ExchangeSample>& rows);
std::vector<double> errors_of(const sim::NetworkCost& cost, CollectiveAlgorithm algorithm,
                              const std::vector<CollectiveSample>& rows);
std::vector<double> errors_of(const sim::NetworkCost& cost, const std::vector<MessageSample>& rows);

class NetworkReport {
 public:
  /// Nothing if there are no errors.
  void add(std::string family, std::string subset, bool held_out, const std::vector<double>& errors);
  /// Collectives below and from 1 MiB on apart: below, latency decides; above, bandwidth.
  void add(const std::string& family, const std::string& subset, bool held_out, const sim::NetworkCost& cost,
           CollectiveAlgorithm algorithm, const std::vector<CollectiveSample>& rows);
  /// Dispatch and combine.
  void add(const std::string& subset, bool held_out, const sim::NetworkCost& cost,
           const std::vector<ExchangeSample>& rows);

  /// Errors of rows that were held out together, for the coverage of the family's intervals.
  void cover(const std::string& family, std::int64_t fold, const std::vector<double>& errors);

  [[nodiscard]] std::vector<NetworkResidual> residuals() const { return residuals_; }
  [[nodiscard]] std::vector<Coverage> coverage() const;

 private:
  std::vector<NetworkResidual> residuals_;
  std::vector<std::pair<std::string, HeldOutErrors>> covered_;
};

}  // namespace foretoken::calibrate
