#include "sim/cost/host_cost.hpp"

#include <algorithm>

#include "sim/cost/host_amounts.hpp"

namespace foretoken::sim {

HostCost::HostCost(const HostCalibration& calibration, const std::string& communicator, std::int64_t ranks_on_node)
    : calibration_(calibration),
      communication_(calibration.communicator(communicator)),
      ranks_on_node_(ranks_on_node) {}

HostEstimate HostCost::compute(const plan::Role& role, const plan::Op& op,
                               std::span<const std::int64_t> rows_per_expert, Bytes reuse_distance) const {
  const Bytes footprint = reuse_distance * ranks_on_node_;
  const auto time = [&](HostLoad load) {
    const HostTerms amounts =
        host_amounts(role, op, rows_per_expert, calibration_.streaming_beyond_cache(load, footprint));
    return Seconds(dot(amounts, calibration_.costs(load)));
  };
  HostEstimate estimate{time(HostLoad::alone), time(HostLoad::crowded), Provenance::interpolated};
  estimate.crowded = std::max(estimate.crowded, estimate.alone);
  const HostTerms amounts = host_amounts(role, op, rows_per_expert, Seconds(0));
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    if (amounts[static_cast<HostTerm>(t)] == 0) continue;
    const auto& family = calibration_.families[static_cast<std::size_t>(kHostTerms[t].family)];
    if (estimate.alone < family.shortest || estimate.alone > family.longest)
      estimate.provenance = Provenance::extrapolated;
  }
  return estimate;
}

HostEstimate HostCost::communication(const HostTerms& amounts) const {
  const Seconds alone(dot(amounts, communication_.unit_costs[static_cast<std::size_t>(HostLoad::alone)]));
  const Seconds crowded(dot(amounts, communication_.unit_costs[static_cast<std::size_t>(HostLoad::crowded)]));
  return {alone, std::max(alone, crowded), Provenance::interpolated};
}

}  // namespace foretoken::sim
