#include "sim/cost/memory_cost.hpp"

#include "core/error.hpp"

namespace foretoken::sim {

Estimate memory_bound(const MemoryFit& fit, Bytes traffic) {
  FORETOKEN_CHECK(traffic >= Bytes(0), "traffic is not negative");
  if (traffic == Bytes(0)) return {Seconds(0), Provenance::measured};
  return {fit.floor + traffic / fit.bandwidth, Provenance::assumed};
}

}  // namespace foretoken::sim
