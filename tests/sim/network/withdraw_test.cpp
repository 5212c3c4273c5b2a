// Activities that are taken out before they end, as a kernel is whose speed changes.
#include <gtest/gtest.h>

#include <vector>

#include "sim/network/flow_network.hpp"

namespace foretoken::sim {
namespace {

const std::vector<ResourceUse> kLink{{0, 1.0}};

// Two flows of 10 share 2 per second: at 4 s each has 6 left of 10. One goes, the other takes all: 4 + 6 / 2 = 7.
TEST(FlowNetworkWithdraw, SaysWhatIsLeftAndTheOthersGrow) {
  FlowNetwork network({2.0});
  network.start({10, 1, 100, kLink, 1});
  network.start({10, 1, 100, kLink, 2});
  network.advance(4);
  EXPECT_NEAR(network.withdraw(1), 0.6, 1e-12);
  EXPECT_EQ(network.active(), 1U);
  EXPECT_NEAR(network.next_completion(), 7, 1e-12);
  std::vector<std::int32_t> tags;
  network.complete(tags);
  EXPECT_EQ(tags, std::vector<std::int32_t>{2});
}

// Gone before its rate was ever asked for, and gone as the last one.
TEST(FlowNetworkWithdraw, AtItsStartAllIsLeft) {
  FlowNetwork network({2.0});
  network.start({10, 1, 100, kLink, 1});
  EXPECT_EQ(network.withdraw(1), 1.0);
  EXPECT_EQ(network.active(), 0U);
  network.start({10, 1, 1, kLink, 3});
  EXPECT_NEAR(network.next_completion(), 10, 1e-12);
}

// The rest of it, begun again under another ceiling at 2 s with 8 of 10 left: 2 + 8 / 0.5 = 18.
TEST(FlowNetworkWithdraw, TheRestMayBeginAgainAtAnotherSpeed) {
  FlowNetwork network({2.0});
  network.start({10, 1, 1, kLink, 1});
  network.advance(2);
  const double left = network.withdraw(1);
  network.start({10 * left, 1, 0.5, kLink, 1});
  EXPECT_NEAR(network.next_completion(), 18, 1e-12);
}

}  // namespace
}  // namespace foretoken::sim
