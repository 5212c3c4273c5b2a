// Which probes a measurement makes when nobody says what for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "calibrate/measure/compute_probe.hpp"

namespace foretoken::calibrate {

/// Messages of all ranks of a plan.
struct CommunicationProbe {
  std::string name;
  plan::Plan plan;
};

/// One-rank models: hidden 128 to 2048, 1 to 256 sequences, context 16 to 1024, few and many experts with few and many
/// rows each, plain and gated, with and without shared experts, dense layers and grouped queries; from 1 MB to 300 MB.
std::vector<ComputeProbe> built_in_compute_probes();

/// All-reduces (ring and direct), all-gathers and reduce-scatters, dispatch and combine, send and recv among `ranks`,
/// 1 KB to several MB each.
std::vector<CommunicationProbe> built_in_communication_probes(std::int64_t ranks);

}  // namespace foretoken::calibrate
