// The foretoken command as a function: the program and its tests call the same thing.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace foretoken::cli {

/// Runs one command line. Data goes to `out`, messages and progress to `err`.
///
/// @param arguments without the program's name: {"simulate", "scenario.json", "--json"}
/// @return the exit code: 0 ok, 1 internal, 2 bad usage or input, 3 infeasible, 4 a gate failed, 5 unhealthy, 6 a rank
///         failed
int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace foretoken::cli
