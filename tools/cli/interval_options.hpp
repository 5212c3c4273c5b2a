// What commands take that state how far their prediction may be off.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>

#include "tools/cli/commands.hpp"
#include "tools/explain/monte_carlo.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct IntervalOptions {
  std::filesystem::path errors;          // --errors: how far the calibration is off; empty: as shipped with it
  std::string interval = "first-order";  // --interval: or "mc:N", by draws too
};

/// --errors and --interval.
void add_interval_options(CLI::App& command, IntervalOptions& options);

/// Of --interval: "first-order" is none, "mc:1000" is 1,000 draws of seed 1, "mc:1000:7" those of seed 7.
/// @throws Error{invalid_input} for anything else
std::optional<explain::Draws> draws_of(const std::string& interval);

/// simulate, with how far its predictions may be off.
void run_simulate(const SimulateOptions& options, const IntervalOptions& interval, std::ostream& out,
                  std::ostream& err);

}  // namespace foretoken::cli
