// Where a (token, choice) pair's row goes: counting sort by expert, exact or into slots of fixed capacity.
//
// Choices are numbered token x top_k + choice. `place` is an expert's position in the order of rows (Placement's), or
// -1 for choices that are not taken here. Rows are in the order (place, choice), so that one block per place can number
// its rows alone: it counts in order of choice, and nobody else writes them.
#pragma once

#include <cstdint>

#include "runtime/cuda/host_device.hpp"

namespace foretoken::runtime::cuda {

/// How rows of one expert follow those of the one before.
enum class RowPacking : std::uint8_t {
  exact,     // at once
  capacity,  // at the next multiple of the capacity; slots behind an expert's last row are unused
};

FORETOKEN_HOST_DEVICE inline std::int32_t token_of(std::int64_t choice, std::int64_t top_k) {
  return static_cast<std::int32_t>(choice / top_k);
}

/// First row of a place.
/// @param rows_before  of all places before it
FORETOKEN_HOST_DEVICE inline std::int64_t first_row(RowPacking packing, std::int64_t place, std::int64_t rows_before,
                                                    std::int64_t capacity) {
  return packing == RowPacking::exact ? rows_before : place * capacity;
}

/// Puts choice `choice` down as row number `index` among those of its place.
/// @param row_of    [choice], becomes the row
/// @param selected  [row], becomes the token
FORETOKEN_HOST_DEVICE inline void put_row(std::int64_t choice, std::int64_t top_k, std::int64_t first,
                                          std::int64_t index, std::int32_t* row_of, std::int32_t* selected) {
  const std::int64_t row = first + index;
  row_of[choice] = static_cast<std::int32_t>(row);
  selected[row] = token_of(choice, top_k);
}

/// How many rows are worked on: as many as the host knows, or as the device has counted, and then at most so many.
struct Rows {
  std::int64_t most = 0;
  const std::int32_t* count = nullptr;  // in the device's memory; null: all of them

  constexpr Rows(std::int64_t rows) : most(rows) {}  // NOLINT(google-explicit-constructor): the usual case
  constexpr Rows(std::int64_t rows_max, const std::int32_t* counted) : most(rows_max), count(counted) {}

  /// Where `count` can be read.
  [[nodiscard]] FORETOKEN_HOST_DEVICE std::int64_t here() const {
    return count != nullptr && *count < most ? *count : most;
  }
};

/// Blocks of equal size, one for each place: so many rows of something else, then its slots.
struct Slots {
  std::int64_t places = 0;
  std::int64_t block_rows = 0;   // of all of a block
  std::int64_t header_rows = 0;  // of these, before its slots
};

/// The place that a row belongs to, exactly packed.
/// @param first_rows  [places + 1], ascending, from 0 to the number of rows; empty places share their first row
FORETOKEN_HOST_DEVICE inline std::int64_t place_of_row(const std::int32_t* first_rows, std::int64_t places,
                                                       std::int64_t row) {
  std::int64_t low = 0;
  std::int64_t high = places;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (first_rows[middle] <= row) low = middle;
    else high = middle;
  }
  return low;
}

/// Where an exactly packed row stands among blocks of slots.
FORETOKEN_HOST_DEVICE inline std::int64_t slot_of_row(const std::int32_t* first_rows, Slots slots, std::int64_t row) {
  const std::int64_t place = place_of_row(first_rows, slots.places, row);
  return place * slots.block_rows + slots.header_rows + row - first_rows[place];
}

}  // namespace foretoken::runtime::cuda
