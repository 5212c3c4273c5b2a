// Who may include whom. The rules are data in include_rules.cpp; this is a function of text, so that tests can break
// them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace foretoken::style {

/// One broken rule, as an editor can jump to it.
struct Finding {
  std::string path;
  int line = 0;
  std::string message;
};

/// The includes of one C++ file that the direction of the folders forbids.
///
///   core <- plan <- sim, runtime;  calibrate sees sim, and runtime in calibrate/measure/ alone;  tools and tests see
///   all
///
/// Boost.Graph stays in plan/machine/*.cpp, CUDA and NCCL in runtime/cuda/ and calibrate/measure/, MPI in runtime/ and
/// tools/planning/, CLI11 in tools/cli/; tests may use any of them. Our own headers are named from the repository root.
///
/// @param path      relative to the repository root, with '/': decides which rules hold
/// @param contents  the text of the file; nothing is read from disk
/// Limits: reads directives line by line and does not know comments; a commented-out include counts.
/// Example: ("sim/engine.cpp", "#include \"runtime/x.hpp\"") -> one finding at line 1.
std::vector<Finding> check_includes(std::string_view path, std::string_view contents);

}  // namespace foretoken::style
