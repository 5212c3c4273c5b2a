// What a cost model answers: a duration and what it rests on.
#pragma once

#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

struct Estimate {
  Seconds time{};
  Provenance provenance = Provenance::interpolated;
};

}  // namespace foretoken::sim
