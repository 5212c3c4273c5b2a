#include "core/random.hpp"

#include "core/error.hpp"

namespace foretoken {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t join(std::uint32_t low, std::uint32_t high) {
  return static_cast<std::uint64_t>(high) << 32 | low;
}

std::array<std::uint32_t, 4> bits_at(std::uint64_t seed, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                                     std::uint32_t d) {
  return philox4x32({a, b, c, d}, {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  // Multipliers and key increments from the paper; the increments are the golden ratio and sqrt(3) - 1.
  constexpr std::uint64_t multiplier0 = 0xD2511F53;
  constexpr std::uint64_t multiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t increment0 = 0x9E3779B9;
  constexpr std::uint32_t increment1 = 0xBB67AE85;
  constexpr int rounds = 10;
  for (int round = 0; round < rounds; ++round) {
    const std::uint64_t product0 = multiplier0 * counter[0];
    const std::uint64_t product1 = multiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(product0)};
    key[0] += increment0;
    key[1] += increment1;
  }
  return counter;
}

std::uint64_t random_at(std::uint64_t seed, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  const auto bits = bits_at(seed, a, b, c, d);
  return join(bits[0], bits[1]);
}

std::uint64_t RandomSequence::next() {
  if (spare_filled_) {
    spare_filled_ = false;
    return spare_;
  }
  const auto bits = bits_at(seed_, a_, b_, c_, block_++);
  spare_ = join(bits[2], bits[3]);
  spare_filled_ = true;
  return join(bits[0], bits[1]);
}

std::uint64_t RandomSequence::below(std::uint64_t bound) {
  FORETOKEN_CHECK(bound >= 1, "a random number below 0 was asked for");
  // -bound mod bound = 2^64 mod bound.
  const std::uint64_t rejected = (0 - bound) % bound;
  for (;;) {
    const Wide product = static_cast<Wide>(next()) * bound;
    if (static_cast<std::uint64_t>(product) >= rejected) return static_cast<std::uint64_t>(product >> 64);
  }
}

}  // namespace foretoken
