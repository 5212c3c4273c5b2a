// The least of many keys that change one at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace foretoken::sim {

/// A tournament among players with keys; the least key wins, of equal ones that of the player that was added first. A
/// key that changes has the matches on its player's way to the top played again: log2(players) of them, without a
/// branch that a processor could guess wrongly. A binary heap moves less, but guesses at every step.
class Tournament {
 public:
  void clear() { names_.clear(); }
  /// @param key not negative, or infinity
  void add(double key, std::int32_t name) {
    if (added_.size() == names_.size()) added_.emplace_back();
    added_[names_.size()] = std::bit_cast<std::uint64_t>(key);
    names_.push_back(name);
  }

  /// After all have been added. The key of nobody is infinity.
  void play() {
    size_ = std::bit_ceil(names_.size());
    keys_.resize(2 * size_);
    places_.resize(2 * size_);
    for (std::size_t p = 0; p < size_; ++p) {
      keys_[size_ + p] = p < names_.size() ? added_[p] : kLast;
      places_[size_ + p] = static_cast<std::uint32_t>(p);
    }
    for (std::size_t m = size_ - 1; m > 0; --m) {
      const std::size_t won = 2 * m + (keys_[2 * m + 1] < keys_[2 * m] ? 1 : 0);
      keys_[m] = keys_[won];
      places_[m] = places_[won];
    }
  }

  [[nodiscard]] std::int32_t winner() const { return names_[places_[1]]; }
  [[nodiscard]] double key() const { return std::bit_cast<double>(keys_[1]); }

  /// Changes the winner's key. Returns whether it wins again.
  bool change_winner(double new_key) {
    const std::uint32_t old_place = places_[1];
    std::uint64_t key = std::bit_cast<std::uint64_t>(new_key);
    std::uint32_t place = old_place;
    std::size_t m = size_ + place;
    keys_[m] = key;
    while (m > 1) {
      const std::size_t other = m ^ 1U;
      // Selected by masks, so that no compiler makes a branch of it. An odd one was added later: equal, it loses.
      const std::uint64_t lost = -std::uint64_t{keys_[other] < key + (m & 1U)};
      key ^= (key ^ keys_[other]) & lost;
      place ^= (place ^ places_[other]) & static_cast<std::uint32_t>(lost);
      m /= 2;
      keys_[m] = key;
      places_[m] = place;
    }
    return place == old_place;
  }

 private:
  // Doubles that are not negative are ordered as their bits are.
  static constexpr auto kLast = std::bit_cast<std::uint64_t>(std::numeric_limits<double>::infinity());

  std::vector<std::uint64_t> added_;   // [place]
  std::vector<std::int32_t> names_;    // [place]
  std::vector<std::uint64_t> keys_;    // [match]: 1 is the last; that of m is won by the winner of 2m or of 2m + 1
  std::vector<std::uint32_t> places_;  // [match], of its winner; from size_ on the players themselves
  std::size_t size_ = 0;               // a power of two
};

}  // namespace foretoken::sim
