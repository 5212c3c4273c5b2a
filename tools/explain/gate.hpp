// Conditions under which a comparison fails: `--fail-if 'tpot>10%'`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/explain/compare.hpp"

namespace foretoken::explain {

/// Fails where |error of the figure| > threshold.
struct Gate {
  std::string condition;    // as the user wrote it
  std::string_view figure;  // of Comparison::figures
  double threshold = 0;     // 10 % are 0.1
};

/// Reads "tpot>10%": one of tpot (mean), tps, step (mean), cpu; '>'; a percentage from 0. Spaces are allowed between.
/// @throws Error{invalid_input} with a hint
Gate parse_gate(std::string_view condition);

struct GateVerdict {
  Gate gate;
  double error = 0;
  bool failed = false;
};

/// @throws Error{invalid_input} if the comparison does not have a gate's figure
std::vector<GateVerdict> check_gates(const std::vector<Gate>& gates, const std::vector<Figure>& figures);

}  // namespace foretoken::explain
