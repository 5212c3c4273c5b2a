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
  const std::int64_t cores = calibration_.cores;
  const auto time = [&](HostLoad load, std::int64_t ranks) {
    const Bytes footprint = reuse_distance * ranks;
    const HostTerms amounts =
        host_amounts(role, op, rows_per_expert, calibration_.streaming_beyond_cache(load, footprint));
    return Seconds(dot(amounts, calibration_.costs(load)));
  };
  HostEstimate estimate{time(HostLoad::alone, std::max<std::int64_t>(1, ranks_on_node_ / cores)),
                        time(HostLoad::crowded, std::max(ranks_on_node_, cores)), Provenance::interpolated};
  estimate.crowded = std::max(estimate.crowded, estimate.alone);
  const HostTerms amounts = host_amounts(role, op, rows_per_expert, Seconds(0));
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    if (amounts[static_cast<HostTerm>(t)] == 0) continue;
    const auto& family = calibration_.families[static_cast<std::size_t>(kHostTerms[t].family)];
    if (family.longest == Seconds(0)) estimate.provenance = Provenance::assumed;
    else if (estimate.alone < family.shortest || estimate.alone > family.longest)
      estimate.provenance = worst(estimate.provenance, Provenance::extrapolated);
  }
  return estimate;
}

HostEstimate HostCost::communication(const HostTerms& amounts) const {
  const auto load = static_cast<std::size_t>(ranks_on_node_ > calibration_.cores ? HostLoad::crowded : HostLoad::alone);
  const Seconds time(dot(amounts, communication_.unit_costs[load]));
  return {time, time, communication_.measured[load] ? Provenance::interpolated : Provenance::extrapolated};
}

}  // namespace foretoken::sim
