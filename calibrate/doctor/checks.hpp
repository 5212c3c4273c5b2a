// The figures that a doctor asks a calibration for.
#pragma once

#include <vector>

#include "calibrate/doctor/doctor.hpp"

namespace foretoken::calibrate {

/// Without sibling. The order is fixed; frameworks are those of the calibration.
std::vector<Check> checks_of(const Patient& patient);

}  // namespace foretoken::calibrate
