// When an op has been timed often enough.
#pragma once

#include <cstdint>
#include <span>

namespace foretoken::calibrate {

/// Half of the 90 % interval of the median, from the ranks n / 2 -+ 1.645 sqrt(n) / 2 of the sorted values: those
/// between which a binomial count of values below the median lies nine times in ten, whatever their distribution.
/// Infinite for fewer than eight values, of which that says little.
double median_half_width(std::span<const std::int64_t> values);

/// Whether the median is known to 1 % of itself and 0.3 us, about what reading a thread's clock takes: fit_host weighs
/// errors in the same way.
/// @param nanoseconds  of each repetition
bool often_enough(std::span<const std::int64_t> nanoseconds);

}  // namespace foretoken::calibrate
