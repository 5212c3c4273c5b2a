// Conversions between the signed integers that things are counted in and what arrays and formulas take.
#pragma once

#include <concepts>
#include <cstddef>
#include <limits>

namespace foretoken {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// As an index: `values[at(rank)]`. The number is not negative.
constexpr std::size_t at(std::signed_integral auto index) { return static_cast<std::size_t>(index); }

/// As a factor of a formula; exact up to 2^53.
constexpr double as_double(std::signed_integral auto value) { return static_cast<double>(value); }

}  // namespace foretoken
