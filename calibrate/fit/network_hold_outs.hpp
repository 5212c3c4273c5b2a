// Predictions of rows of the network's measurements by fits that did not see them: group by group, one collective from
// another, and sizes beyond those that were seen.
//
// Every function fits with a copy of what is known before the family's own fit, and leaves it as it is.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/network_report.hpp"
#include "calibrate/import/network_samples.hpp"
#include "core/calibration_network.hpp"

namespace foretoken::calibrate {

using FitCollectives = std::function<void(NetworkCalibration&, std::span<const CollectiveSample>)>;

/// One family of collectives and how it is fitted.
struct CollectiveFamily {
  std::string name;
  CollectiveAlgorithm algorithm;
  FitCollectives fit;
};

/// Every other size from the others; the three octaves above and below from the rest.
void hold_out_sizes(NetworkReport& report, const CollectiveFamily& family, const NetworkCalibration& before,
                    const std::vector<CollectiveSample>& rows);
/// Each (collective, ranks) from the others, and each collective from the other; then sizes.
void hold_out_ring(NetworkReport& report, const NetworkCalibration& before, const std::vector<CollectiveSample>& rows);

/// Low-latency kernels in one node: each (hidden, top-k, experts) from the others, and many and few tokens from the
/// rest.
void hold_out_exchange(NetworkReport& report, const NetworkCalibration& before,
                       const std::vector<ExchangeSample>& rows);
/// The same across nodes: many tokens from few and the other way round.
void hold_out_exchange_across(NetworkReport& report, const NetworkCalibration& before,
                              const std::vector<ExchangeSample>& rows);
/// Normal kernels: each number of SMs from the others; in one node also (hidden, top-k, experts) in folds, and many and
/// few tokens from the rest.
void hold_out_hierarchical(NetworkReport& report, const NetworkCalibration& before,
                           const std::vector<ExchangeSample>& in_node, const std::vector<ExchangeSample>& across,
                           const FoldOptions& folds);

/// Every other octave of sizes, each half from the other; octaves in folds; the three octaves above and below from the
/// rest.
void hold_out_messages(NetworkReport& report, const NetworkCalibration& before, const std::vector<MessageSample>& rows,
                       const FoldOptions& folds);

}  // namespace foretoken::calibrate
