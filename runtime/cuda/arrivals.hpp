// The order of rows that have come to a host of experts, found from how many came: what the kernels of dispatch do.
//
// Rows come by (source, expert, token) and are wanted by (expert, source, token). A pair of a source and an expert of
// the host has its rows side by side in both orders, so pairs move whole: their first rows are running sums of the
// counts, in the one order and in the other.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

/// Counts of arrival are [source][expert of the host].
struct Arrivals {
  std::int64_t sources = 0;
  std::int64_t experts = 0;
  [[nodiscard]] FORETOKEN_HOST_DEVICE std::int64_t pairs() const { return sources * experts; }
  /// Which pair of the order of arrival is the `at`-th in the wanted order.
  [[nodiscard]] FORETOKEN_HOST_DEVICE std::int64_t arrival_of(std::int64_t at) const {
    return at % sources * experts + at / sources;
  }
};

/// Puts row `index` of a pair down. @param sorted  [wanted row], becomes the row of arrival
FORETOKEN_HOST_DEVICE inline void sort_row(std::int32_t first_arrived, std::int32_t first_sorted, std::int32_t index,
                                           std::int32_t* sorted) {
  sorted[first_sorted + index] = first_arrived + index;
}

/// A number in the header of a message, which need not be aligned to it: rows of odd width come before it.
FORETOKEN_HOST_DEVICE inline void put_number(std::int32_t number, std::byte* at) {
  for (int i = 0; i < 4; ++i)
    at[i] = static_cast<std::byte>(static_cast<std::uint32_t>(number) >> static_cast<unsigned>(8 * i) & 0xFFU);
}
FORETOKEN_HOST_DEVICE inline std::int32_t number_at(const std::byte* at) {
  std::uint32_t number = 0;
  for (int i = 0; i < 4; ++i) number |= static_cast<std::uint32_t>(at[i]) << static_cast<unsigned>(8 * i);
  return static_cast<std::int32_t>(number);
}

}  // namespace foretoken::runtime::cuda
