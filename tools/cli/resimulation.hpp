// A stored prediction, simulated again: what its result does not hold (links, machines with better resources) needs it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/calibration.hpp"
#include "core/trace.hpp"
#include "sim/simulate.hpp"
#include "tools/cli/load.hpp"
#include "tools/explain/stored_result.hpp"

namespace foretoken::cli {

struct Resimulation {
  Loaded loaded;
  Calibration calibration;
  sim::SimulateOptions options;
  Trace trace;  // of all ranks, with samples of links
};

/// Either a resimulation or why there is none.
struct ResimulationAnswer {
  std::unique_ptr<Resimulation> run;
  std::string why_not;
};

/// Plans and simulates the scenario that the result holds. What comes of it is held to the result: the same plan hash,
/// the same mean TPOT. Files are looked for by the scenario's paths, from where the result lies and from the current
/// folder, then among those that are shipped.
/// @param topology, calibration  instead of those found; may be empty
/// @throws Error{invalid_input} if one of these two is given and cannot be read
ResimulationAnswer resimulate(const explain::StoredResult& result, const std::filesystem::path& topology,
                              const std::filesystem::path& calibration);

}  // namespace foretoken::cli
