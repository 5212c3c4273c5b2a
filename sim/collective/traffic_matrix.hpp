// How many bytes every rank sends to every other in an all-to-all.
#pragma once

#include <cstdint>
#include <vector>

#include "core/units.hpp"

namespace foretoken::sim {

class TrafficMatrix {
 public:
  explicit TrafficMatrix(std::int32_t ranks)
      : ranks_(ranks), bytes_(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks)) {}

  [[nodiscard]] std::int32_t ranks() const { return ranks_; }
  [[nodiscard]] Bytes at(std::int32_t from, std::int32_t to) const { return bytes_[index(from, to)]; }
  void set(std::int32_t from, std::int32_t to, Bytes bytes) { bytes_[index(from, to)] = bytes; }

  /// The largest buffer: what a rank sends, its own part included.
  [[nodiscard]] Bytes buffer_max() const;
  /// The most that a rank sends to others, or receives from them.
  [[nodiscard]] Bytes busiest() const;

 private:
  [[nodiscard]] std::size_t index(std::int32_t from, std::int32_t to) const {
    return static_cast<std::size_t>(from) * static_cast<std::size_t>(ranks_) + static_cast<std::size_t>(to);
  }
  std::int32_t ranks_;
  std::vector<Bytes> bytes_;
};

/// Every part is bytes / ranks, rounded down to whole elements.
TrafficMatrix uniform_traffic(std::int32_t ranks, Bytes bytes, std::int64_t element_bytes);

/// The same destinations are popular with all: rank j is sent a share proportional to 1 / (j + 1) of every buffer.
TrafficMatrix skewed_traffic(std::int32_t ranks, Bytes bytes, std::int64_t element_bytes);

/// Scales weights so that the row with the largest sum is `bytes`.
/// @param weights [from][to], ranks x ranks, >= 0, not all zero
TrafficMatrix weighted_traffic(std::int32_t ranks, const std::vector<double>& weights, Bytes bytes,
                               std::int64_t element_bytes);

}  // namespace foretoken::sim
