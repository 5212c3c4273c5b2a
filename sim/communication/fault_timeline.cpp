#include "sim/communication/fault_timeline.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace foretoken::sim {

FaultTimeline::FaultTimeline(std::vector<plan::Fault> faults, Fabric& fabric)
    : faults_(std::move(faults)), fabric_(fabric) {
  const auto later = [](const plan::Fault& a, const plan::Fault& b) { return a.from < b.from; };
  FORETOKEN_CHECK(std::is_sorted(faults_.begin(), faults_.end(), later), "faults come in order of time");
}

std::vector<std::int32_t> FaultTimeline::dying(std::size_t fault) const {
  const plan::Fault& what = faults_[fault];
  return what.share == 0 ? fabric_.resources_of(what.links) : std::vector<std::int32_t>{};
}

std::vector<CapacityChange> FaultTimeline::carry_out(std::size_t fault) {
  const plan::Fault& what = faults_[fault];
  if (!what.gpu.valid()) return fabric_.degrade(what);
  if (speed_.empty()) speed_.assign(static_cast<std::size_t>(fabric_.machine().gpus()), 1.0);
  speed_[what.gpu.index()] = what.share;
  return {};
}

double FaultTimeline::speed(RankId rank) const { return speed_.empty() ? 1.0 : speed_[rank.index()]; }

}  // namespace foretoken::sim
