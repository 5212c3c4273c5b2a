// What a cost model answers: a duration and what it rests on.
#pragma once

#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken::sim {

struct Estimate {
  Seconds time{};
  Provenance provenance = Provenance::interpolated;
  /// Of an op on a CPU core: how many times as long it takes while all other cores are at work, >= 1. 0 for a kernel
  /// on a GPU of its own.
  double crowding = 0;
  /// Of a kernel on a GPU: what it reads and writes in all, if nothing stays in a cache.
  Bytes traffic{};
};

}  // namespace foretoken::sim
