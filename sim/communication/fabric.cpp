#include "sim/communication/fabric.hpp"

#include <limits>

#include "core/error.hpp"

namespace foretoken::sim {

Fabric::Fabric(const plan::Machine& machine, const NetworkCost& cost, std::int64_t ranks)
    : machine_(machine), cost_(cost), links_(static_cast<std::int32_t>(machine.links().size())), ranks_(ranks) {
  FORETOKEN_CHECK(ranks <= machine.gpus(), "more ranks than GPUs");
}

std::vector<double> Fabric::capacities() const {
  std::vector<double> capacities;
  capacities.reserve(machine_.links().size() + static_cast<std::size_t>(ranks_) * 8);
  for (const plan::Link& link : machine_.links()) {
    capacities.push_back(link.bandwidth.value() * cost_.link(link.link_class).payload_efficiency);
  }
  const NetworkCalibration& calibration = cost_.calibration();
  for (std::int64_t rank = 0; rank < ranks_; ++rank) {
    for (const ExchangeCalibration* exchange : {&calibration.dispatch, &calibration.combine}) {
      for (const BytesPerSecond rate : {exchange->rate_in_node, exchange->rate_across_nodes}) {
        capacities.insert(capacities.end(), 2, rate.value());  // out and in
      }
    }
  }
  return capacities;
}

Seconds Fabric::route_latency(RankId from, RankId to) const {
  Seconds latency(0.0);
  for (const LinkId link : machine_.route(from, to)) latency += machine_.links()[link.index()].latency;
  return latency;
}

Provenance Fabric::route_provenance(RankId from, RankId to) const {
  Provenance provenance = Provenance::measured;
  double tightest = std::numeric_limits<double>::infinity();
  for (const LinkId id : machine_.route(from, to)) {
    const plan::Link& link = machine_.links()[id.index()];
    const LinkRate rate = cost_.link(link.link_class);
    const double capacity = link.bandwidth.value() * rate.payload_efficiency;
    if (capacity > tightest) continue;
    provenance = capacity == tightest ? worst(provenance, rate.provenance) : rate.provenance;
    tightest = capacity;
  }
  return provenance;
}

void Fabric::append_route(RankId from, RankId to, std::vector<ResourceUse>& uses) const {
  for (const LinkId link : machine_.route(from, to)) uses.push_back({link_resource(link), 1.0});
}

}  // namespace foretoken::sim
