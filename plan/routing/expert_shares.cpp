#include "plan/routing/expert_shares.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"

namespace foretoken::plan {
namespace {

constexpr int kShareBits = 36;  // of the most that an expert can have: a visit of every token

/// Cheap numbers for shuffling, all from one draw (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014). Below 2^12 the multiplication's bias is under 2^-20.
class Shuffler {
 public:
  explicit Shuffler(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t bound) {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebU;
    return static_cast<std::size_t>(((mixed ^ mixed >> 31) >> 32) * bound >> 32);
  }

 private:
  std::uint64_t state_;
};

}  // namespace

void draw_by_shares(RandomSequence& random, std::span<const std::uint64_t> weights, std::uint64_t total,
                    std::vector<std::int32_t>& order, std::span<std::int32_t> experts) {
  const std::uint64_t spacing = total;  // weights are taken top_k times, so that spacings are whole
  const auto top_k = static_cast<std::uint64_t>(experts.size());
  std::uint64_t point = random.below(spacing);
  Shuffler shuffler(random.next());
  std::iota(order.begin(), order.end(), 0);
  std::uint64_t end = 0;
  std::size_t slot = 0;
  for (std::size_t place = 0; slot < experts.size(); ++place) {
    FORETOKEN_CHECK(place < order.size(), "weights that do not add up to their total");
    std::swap(order[place], order[place + shuffler.below(order.size() - place)]);
    const std::int32_t expert = order[place];
    end += top_k * weights[static_cast<std::size_t>(expert)];
    if (point >= end) continue;
    experts[slot++] = expert;
    point += spacing;
  }
}

std::vector<std::uint64_t> hot_set_weights(std::int64_t experts, std::int64_t hot, double share, std::int64_t top_k) {
  const std::uint64_t total = static_cast<std::uint64_t>(top_k) << kShareBits;
  const auto most_of = [](std::int64_t count) { return static_cast<std::uint64_t>(count) << kShareBits; };
  const std::uint64_t of_cold = std::min(most_of(experts - hot), total);
  const auto wanted = static_cast<std::uint64_t>(std::floor(share * static_cast<double>(total)));
  const std::uint64_t of_hot = std::clamp(wanted, total - of_cold, std::min(most_of(hot), total));
  std::vector<std::uint64_t> weights(static_cast<std::size_t>(experts));
  const auto spread = [](std::span<std::uint64_t> part, std::uint64_t amount) {
    for (std::size_t i = 0; i < part.size(); ++i) part[i] = amount / part.size() + (i < amount % part.size() ? 1 : 0);
  };
  spread(std::span(weights).first(static_cast<std::size_t>(hot)), of_hot);
  spread(std::span(weights).subspan(static_cast<std::size_t>(hot)), total - of_hot);
  return weights;
}

}  // namespace foretoken::plan
