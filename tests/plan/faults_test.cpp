// Faults of a scenario, resolved on a machine: 2 nodes of 4 GPUs (tests/data/plan/machine.json).
#include "plan/faults.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using testing::HasSubstr;

Plan plan_with_faults(const std::string& faults) {
  return plan_of_base("stages", {{"/cluster/nodes", "2"}, {"/faults", faults}});
}

std::string message_of(const std::string& faults) {
  try {
    static_cast<void>(plan_with_faults(faults));
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "no error";
}

// The work is the same: only a simulation differs.
TEST(Faults, AreNotInThePlanHash) {
  const Plan healthy = plan_of_base("stages", {});
  const Plan faulty = plan_with_faults(R"([{"gpu": "node0.gpu1", "speed": "50 %"}])");
  EXPECT_TRUE(healthy.faults.empty());
  EXPECT_EQ(faulty.faults.size(), 1U);
  EXPECT_EQ(faulty.plan_hash, healthy.plan_hash);
  EXPECT_EQ(faulty.program_hash, healthy.program_hash);
}

TEST(Faults, AreInOrderOfTime) {
  const Plan plan = plan_with_faults(R"([{"gpu": "node1.gpu2", "speed": "50 %", "from": "2 us"},
                                         {"nic": "node0.nic3", "bandwidth": "10 %", "from": "1 us"},
                                         {"link": ["fabric", "node1.nic0"], "dead": true}])");
  ASSERT_EQ(plan.faults.size(), 3U);
  EXPECT_EQ(plan.faults[0].what, "link fabric - node1.nic0");
  EXPECT_EQ(plan.faults[0].from, SimTime(0));
  EXPECT_EQ(plan.faults[0].share, 0);
  EXPECT_EQ(plan.faults[0].links.size(), 2U);  // both directions
  EXPECT_EQ(plan.faults[1].what, "NIC node0.nic3");
  EXPECT_EQ(plan.faults[1].from, SimTime(1'000'000));
  EXPECT_DOUBLE_EQ(plan.faults[1].share, 0.1);
  EXPECT_EQ(plan.faults[1].links.size(), 2U);  // its PCIe is as fast as before
  EXPECT_EQ(plan.faults[2].gpu, RankId(6));
  EXPECT_DOUBLE_EQ(plan.faults[2].share, 0.5);
}

// A dead NIC takes its PCIe along; a switch all its cables: 4 GPUs there, 8 NICs here, in both directions.
TEST(Faults, HitAllCablesOfAPart) {
  EXPECT_EQ(plan_with_faults(R"([{"nic": "node0.nic3", "dead": true}])").faults[0].links.size(), 4U);
  EXPECT_EQ(plan_with_faults(R"([{"switch": "node1.nvswitch", "dead": true}])").faults[0].links.size(), 8U);
  EXPECT_EQ(plan_with_faults(R"([{"switch": "fabric", "bandwidth": "50 %"}])").faults[0].links.size(), 16U);
}

TEST(Faults, SayWhatTheMachineHasNot) {
  EXPECT_THAT(message_of(R"([{"nic": "node2.nic0", "dead": true}])"),
              HasSubstr("#/faults/0/nic: round-machine has no \"node2.nic0\"; its parts are named like"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.gpu0", "dead": true}])"), HasSubstr("\"node0.gpu0\" is not a NIC"));
  EXPECT_THAT(message_of(R"([{"gpu": "fabric", "speed": "50 %"}])"), HasSubstr("\"fabric\" is not a GPU"));
  EXPECT_THAT(message_of(R"([{"switch": "node0.nic0", "dead": true}])"), HasSubstr("is not a switch"));
  EXPECT_THAT(message_of(R"([{"link": ["node0.nic0", "node0.nic1"], "dead": true}])"),
              HasSubstr("#/faults/0/link: link node0.nic0 - node0.nic1 of round-machine has no cable"));
}

TEST(Faults, AreReadStrictly) {
  EXPECT_THAT(message_of("[{}]"), HasSubstr("#/faults/0: the fault does not say what fails; add"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0"}])"), HasSubstr("does not say what is left; add \"bandwidth\""));
  EXPECT_THAT(message_of(R"([{"gpu": "node0.gpu0"}])"), HasSubstr("does not say what is left; add \"speed\""));
  EXPECT_THAT(message_of(R"([{"nic": "a", "gpu": "b", "dead": true}])"), HasSubstr("names two things"));
  EXPECT_THAT(message_of(R"([{"gpu": "node0.gpu0", "dead": true}])"), HasSubstr("#/faults/0/dead: a rank without"));
  EXPECT_THAT(message_of(R"([{"gpu": "node0.gpu0", "bandwidth": "1 %"}])"), HasSubstr("write \"speed\""));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "speed": "1 %"}])"), HasSubstr("write \"bandwidth\""));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "dead": false}])"), HasSubstr("false says nothing"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "dead": true, "bandwidth": "1 %"}])"), HasSubstr("beside"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "bandwidth": "0 %"}])"), HasSubstr("out of range"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "bandwidth": "101 %"}])"), HasSubstr("out of range"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "bandwidth": 0.5}])"), HasSubstr("has no unit"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "dead": true, "from": "-1 s"}])"), HasSubstr("out of range"));
  EXPECT_THAT(message_of(R"([{"link": ["fabric"], "dead": true}])"), HasSubstr("#/faults/0/link"));
  EXPECT_THAT(message_of(R"([{"nic": "node0.nic0", "dead": true, "until": "1 s"}])"), HasSubstr("\"until\""));
}

}  // namespace
}  // namespace foretoken::plan::test
