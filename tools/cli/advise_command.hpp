// foretoken calibrate advise: what to measure next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>

#include "tools/cli/commands.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct AdviseOptions : SimulateOptions {
  std::filesystem::path errors;  // --errors: how far the calibration is off; empty: as shipped with it
  std::int64_t top = 10;         // --top: so many of the list, as text
};

void run_advise(const AdviseOptions& options, std::ostream& out);

/// Adds it to `calibrate`. If it was given, `chosen` runs it after parsing.
void add_advise(CLI::App& calibrate, AdviseOptions& options, std::function<void()>& chosen, std::ostream& out);

}  // namespace foretoken::cli
