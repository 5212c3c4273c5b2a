// Random numbers that are a pure function of a seed and a counter: the same on every executor, rank count and machine.
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011):
// ten rounds of multiplication and exclusive-or that turn a 128-bit counter into 128 random bits under a 64-bit key.
// It needs integer arithmetic alone, so a GPU draws the very same numbers. Nothing here holds state that others see.
#pragma once

#include <array>
#include <cstdint>

namespace foretoken {

/// The Philox4x32-10 bijection, words in the order of the paper and of Random123.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// 64 random bits that belong to the counter (a, b, c, d) of a seed.
std::uint64_t random_at(std::uint64_t seed, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d);

/// The random numbers that belong to one counter (a, b, c) of a seed, in order; as many as are asked for.
///
/// Number 2 d is random_at(seed, a, b, c, d), number 2 d + 1 the other half of the same 128 bits.
/// Example: `RandomSequence(seed, layer, step, token)` gives a token its own draws, whoever evaluates them and when.
class RandomSequence {
 public:
  RandomSequence(std::uint64_t seed, std::uint32_t a, std::uint32_t b, std::uint32_t c)
      : seed_(seed), a_(a), b_(b), c_(c) {}

  std::uint64_t next();

  /// Uniform in [0, bound), without bias: the high half of a 64 x 64 bit product, rejecting the 2^64 mod bound values
  /// that would make some results likelier (Lemire, "Fast Random Integer Generation in an Interval", 2019).
  /// @param bound >= 1. A draw is rejected with a chance below bound / 2^64.
  std::uint64_t below(std::uint64_t bound);

 private:
  std::uint64_t seed_;
  std::uint32_t a_;
  std::uint32_t b_;
  std::uint32_t c_;
  std::uint32_t block_ = 0;
  bool spare_filled_ = false;
  std::uint64_t spare_ = 0;
};

}  // namespace foretoken
