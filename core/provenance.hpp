// Where a predicted duration comes from, from best to worst.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace foretoken {

/// measured      the very shape was measured
/// interpolated  inside the measured range
/// extrapolated  outside it, carried by the fitted physics
/// assumed       rests on a datasheet or a stated assumption
enum class Provenance : std::uint8_t { measured, interpolated, extrapolated, assumed };

constexpr std::array<std::pair<Provenance, std::string_view>, 4> kProvenanceNames{
    {{Provenance::measured, "measured"},
     {Provenance::interpolated, "interpolated"},
     {Provenance::extrapolated, "extrapolated"},
     {Provenance::assumed, "assumed"}}};

constexpr std::string_view name_of(Provenance p) { return kProvenanceNames[static_cast<std::size_t>(p)].second; }

/// A result is as good as the worst thing it rests on.
constexpr Provenance worst(Provenance a, Provenance b) { return std::max(a, b); }

}  // namespace foretoken
