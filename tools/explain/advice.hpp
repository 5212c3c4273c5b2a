// What to measure next: by how much the interval of TPOT gets narrower if one op were measured exactly.
//
// First order, as model_errors.hpp: all ops of one row are off together, by p90 of that row. What is measured exactly
// leaves its row:
//
//   h^2 = sum over rows of (share x p90)^2,   h_then^2 = h^2 - p90^2 (share^2 - (share - own)^2)   of the op's row
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/trace.hpp"
#include "tools/explain/critical_path.hpp"
#include "tools/explain/model_errors.hpp"

namespace foretoken::explain {

/// Ops on the critical path of one kind, shape and provenance: one measurement would do for all of them.
struct MeasurementGain {
  std::string kind;
  std::string shape;
  Provenance provenance = Provenance::measured;
  std::size_t row = 0;          // of the model errors
  std::set<std::string> names;  // without layer and micro-batch: "qkv"
  std::size_t event = 0;        // the longest of them on the path
  SimTime predicted;            // that it takes
  double share = 0;             // of the critical path
  double relative_then = 0;     // relative_error() if these were exact
};

/// Largest gain first; of equal ones the larger share, then by kind and shape.
///
/// @param shape_of  [event] what decides how long the op takes, as text
/// Example: half of the path at 10 %, half at 20 %: 11.2 % in all; 5 % if the second half is measured.
std::vector<MeasurementGain> measurement_gains(const CriticalPath& path, const Trace& trace, const ModelErrors& errors,
                                               const std::function<std::string(std::size_t)>& shape_of);

/// By how much narrower the 90 % interval gets, of its own width: nothing where it has no upper end as it is.
std::optional<double> narrower(double relative, double relative_then);

}  // namespace foretoken::explain
