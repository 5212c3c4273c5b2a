#include "sim/engine/link_sampler.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace foretoken::sim {
namespace {

// A link that has carried 2 bytes per picosecond, looked at whenever a sample is due.
TEST(LinkSampler, KeepsABoundedNumberEvenlySpread) {
  LinkSampler sampler({{"link", "nvlink", BytesPerSecond(1)}}, 16);
  std::int64_t asked = 0;
  for (std::int64_t now = 0; now <= 100'000; ++now) {
    const bool must_stay = now == 777 || now == 100'000;
    if (!must_stay && !sampler.is_due(SimTime(now))) continue;
    ++asked;
    sampler.add(SimTime(now), {2.0 * static_cast<double>(now)}, must_stay);
  }
  EXPECT_LT(asked, 200);
  const TraceLinks links = sampler.take();
  EXPECT_LE(links.sampled.size(), 17U);
  EXPECT_GE(links.sampled.size(), 8U);
  ASSERT_EQ(links.carried.size(), links.sampled.size());
  EXPECT_TRUE(std::is_sorted(links.sampled.begin(), links.sampled.end()));
  for (std::size_t s = 0; s < links.sampled.size(); ++s)
    EXPECT_EQ(links.bytes(s, 0), 2.0 * static_cast<double>(links.sampled[s].value()));
  for (const std::int64_t stays : {777, 100'000})
    EXPECT_NE(std::find(links.sampled.begin(), links.sampled.end(), SimTime(stays)), links.sampled.end()) << stays;
  SimTime widest(0);
  for (std::size_t s = 1; s < links.sampled.size(); ++s)
    widest = std::max(widest, links.sampled[s] - links.sampled[s - 1]);
  EXPECT_LE(widest, SimTime(2 * 100'000 / 8));
}

TEST(LinkSampler, ASecondLookAtOneInstantReplacesTheFirst) {
  LinkSampler sampler({{"link", "nvlink", BytesPerSecond(1)}}, 4);
  sampler.add(SimTime(5), {1.0}, true);
  sampler.add(SimTime(5), {2.0}, false);
  const TraceLinks links = sampler.take();
  ASSERT_EQ(links.sampled.size(), 1U);
  EXPECT_EQ(links.bytes(0, 0), 2.0);
}

}  // namespace
}  // namespace foretoken::sim
