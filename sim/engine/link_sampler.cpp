#include "sim/engine/link_sampler.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace foretoken::sim {

LinkSampler::LinkSampler(std::vector<TraceLinks::Link> links, std::size_t samples_max) : samples_max_(samples_max) {
  FORETOKEN_CHECK(samples_max >= 4, "too few samples to halve them");
  trace_.links = std::move(links);
}

void LinkSampler::add(SimTime now, const std::vector<double>& bytes, bool must_stay) {
  if (!trace_.sampled.empty() && trace_.sampled.back() == now) {
    std::copy(bytes.begin(), bytes.end(), trace_.carried.end() - static_cast<std::ptrdiff_t>(bytes.size()));
    must_stay_.back() = static_cast<char>(must_stay_.back() != 0 || must_stay);
    return;
  }
  trace_.sampled.push_back(now);
  trace_.carried.insert(trace_.carried.end(), bytes.begin(), bytes.end());
  must_stay_.push_back(static_cast<char>(must_stay));
  if (trace_.sampled.size() > samples_max_) thin_out();
}

void LinkSampler::thin_out() {
  const std::size_t links = trace_.links.size();
  std::size_t kept = 0;
  for (std::size_t s = 0; s < trace_.sampled.size(); ++s) {
    if (s % 2 == 1 && must_stay_[s] == 0) continue;
    trace_.sampled[kept] = trace_.sampled[s];
    must_stay_[kept] = must_stay_[s];
    std::copy_n(trace_.carried.begin() + static_cast<std::ptrdiff_t>(s * links), links,
                trace_.carried.begin() + static_cast<std::ptrdiff_t>(kept * links));
    ++kept;
  }
  trace_.sampled.resize(kept);
  must_stay_.resize(kept);
  trace_.carried.resize(kept * links);
  const SimTime span = trace_.sampled.back() - trace_.sampled.front();
  apart_ = std::max(apart_ * 2, span / static_cast<std::int64_t>(samples_max_ / 2));
}

}  // namespace foretoken::sim
