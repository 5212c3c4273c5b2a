#include "sim/collective/traffic_matrix.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace foretoken::sim {

Bytes TrafficMatrix::buffer_max() const {
  Bytes most(0);
  for (std::int32_t from = 0; from < ranks_; ++from) {
    Bytes row(0);
    for (std::int32_t to = 0; to < ranks_; ++to) row += at(from, to);
    most = std::max(most, row);
  }
  return most;
}

Bytes TrafficMatrix::busiest() const {
  Bytes most(0);
  for (std::int32_t rank = 0; rank < ranks_; ++rank) {
    Bytes out(0);
    Bytes in(0);
    for (std::int32_t other = 0; other < ranks_; ++other) {
      if (other == rank) continue;
      out += at(rank, other);
      in += at(other, rank);
    }
    most = std::max({most, out, in});
  }
  return most;
}

TrafficMatrix weighted_traffic(std::int32_t ranks, const std::vector<double>& weights, Bytes bytes,
                               std::int64_t element_bytes) {
  const auto n = static_cast<std::size_t>(ranks);
  FORETOKEN_CHECK(weights.size() == n * n, "a weight per pair of ranks");
  double largest = 0;
  for (std::size_t from = 0; from < n; ++from) {
    double row = 0;
    for (std::size_t to = 0; to < n; ++to) row += weights[from * n + to];
    largest = std::max(largest, row);
  }
  FORETOKEN_CHECK(largest > 0, "somebody sends something");
  TrafficMatrix matrix(ranks);
  const double elements = static_cast<double>(bytes.value() / element_bytes) / largest;
  for (std::int32_t from = 0; from < ranks; ++from) {
    for (std::int32_t to = 0; to < ranks; ++to) {
      const double weight = weights[static_cast<std::size_t>(from) * n + static_cast<std::size_t>(to)];
      matrix.set(from, to, Bytes(static_cast<std::int64_t>(std::floor(weight * elements)) * element_bytes));
    }
  }
  return matrix;
}

TrafficMatrix uniform_traffic(std::int32_t ranks, Bytes bytes, std::int64_t element_bytes) {
  TrafficMatrix matrix(ranks);
  const Bytes part(bytes.value() / element_bytes / ranks * element_bytes);
  for (std::int32_t from = 0; from < ranks; ++from)
    for (std::int32_t to = 0; to < ranks; ++to) matrix.set(from, to, part);
  return matrix;
}

TrafficMatrix skewed_traffic(std::int32_t ranks, Bytes bytes, std::int64_t element_bytes) {
  std::vector<double> weights;
  weights.reserve(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks));
  for (std::int32_t from = 0; from < ranks; ++from)
    for (std::int32_t to = 0; to < ranks; ++to) weights.push_back(1.0 / (to + 1));
  return weighted_traffic(ranks, weights, bytes, element_bytes);
}

}  // namespace foretoken::sim
