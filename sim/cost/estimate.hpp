// What a cost model answers: a duration and what it rests on.
#pragma once

#include <optional>

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
  /// Nine in ten measurements that the fit did not see are off by less: |predicted / measured - 1|. Only inside the
  /// shapes that the fit's residuals are of; nobody knows how wrong the rest is.
  std::optional<double> error_p90 = std::nullopt;
};

}  // namespace foretoken::sim
