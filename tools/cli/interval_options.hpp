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
  std::string interval = "first-order";  // --interval: or "mc:N", "sim:N", by draws too
};

/// What --interval asks for beside the first-order interval.
struct DrawnMethod {
  explain::Draws draws;
  bool simulated = false;  // each draw; else the trace is timed anew
};

/// --errors and --interval.
void add_interval_options(CLI::App& command, IntervalOptions& options);

/// Of --interval: "first-order" is none, "mc:1000" is 1,000 draws of seed 1, "mc:1000:7" those of seed 7; "sim:..."
/// simulates each.
/// @throws Error{invalid_input} for anything else
std::optional<DrawnMethod> drawn_method(const std::string& interval);

/// simulate, with how far its predictions may be off.
void run_simulate(const SimulateOptions& options, const IntervalOptions& interval, std::ostream& out,
                  std::ostream& err);

}  // namespace foretoken::cli
