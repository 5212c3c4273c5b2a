// A run whose ops take longer or shorter than predicted, kind by kind: what an error of the calibration would do.
#pragma once

#include <functional>
#include <string_view>

#include "core/provenance.hpp"

namespace foretoken::sim {

/// What an op's own time is multiplied by, > 0: its kernel's, or its latency and what it moves.
/// @param kind  as in the trace: "gemm", "all_reduce"; a send and its recv are one, "send"
/// @param provenance  of the predicted time
using TimeFactor = std::function<double(std::string_view kind, Provenance provenance)>;

}  // namespace foretoken::sim
