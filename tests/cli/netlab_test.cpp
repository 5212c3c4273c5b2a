// tools/netlab: labs come up, run commands on their nodes, and leave nothing behind. Skipped, visibly, where namespaces
// are not permitted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "foretoken_places.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/scratch_folder.hpp"

namespace foretoken::cli {
namespace {

using test::Said;
using testing::HasSubstr;

class Netlab : public testing::Test {
 protected:
  void SetUp() override {
    const Said check = netlab("check");
    if (check.code != 0) GTEST_SKIP() << "no emulated clusters here: " << check.text;
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(notes()); }

  // Where labs are noted: tests that run at one time must not take each other's labs for theirs.
  static std::string notes() { return testing::TempDir() + "foretoken_netlab_" + std::to_string(getpid()); }

  static Said netlab(const std::string& arguments) {
    // Notes of its own, so that tests at one time do not take each other's labs for theirs.
    static const std::string notes = testing::TempDir() + "foretoken_netlab_" + std::to_string(getpid());
    std::filesystem::create_directories(notes);
    const std::string command = "XDG_RUNTIME_DIR='" + notes +
                                "' FORETOKEN='" FORETOKEN_BINARY "' '" FORETOKEN_SOURCE_DIR "/tools/netlab' " +
                                arguments;
    return test::say(command);
  }
};

TEST_F(Netlab, ACommandRunsOnNodeZeroWithOneShapedNic) {
  const Said said = netlab(
      "exec topologies/lab/2x4.json bash -c 'hostname; tc qdisc show dev eth0; ip -oneline link | wc -l; exit 7'");
  EXPECT_EQ(said.code, 7) << said.text;
  EXPECT_THAT(said.text, HasSubstr("node0\n"));
  EXPECT_THAT(said.text, HasSubstr("rate 10Mbit"));
  EXPECT_THAT(said.text, HasSubstr("\n2\n"));  // lo and eth0: nothing of the computer's own
}

TEST_F(Netlab, UpTwiceIsRefusedAndDownTwiceIsNot) {
  ASSERT_EQ(netlab("up topologies/lab/2x1.json").code, 0);
  EXPECT_THAT(netlab("status").text, HasSubstr("topologies/lab/2x1.json up"));
  EXPECT_EQ(netlab("up topologies/lab/2x1.json").code, 2);
  EXPECT_EQ(netlab("exec topologies/lab/2x1.json true").code, 0);
  EXPECT_EQ(netlab("down topologies/lab/2x1.json").code, 0);
  EXPECT_EQ(netlab("down topologies/lab/2x1.json").code, 0);
  EXPECT_THAT(netlab("status").text, testing::Not(HasSubstr("2x1.json")));
}

// The whole test of fifty, ten of them killed, is tools/netlab stress topologies/lab/4x2.json.
TEST_F(Netlab, NothingIsLeftOfLabsThatAreKilled) {
  const Said said = netlab("stress topologies/lab/2x1.json 5");
  EXPECT_EQ(said.code, 0) << said.text;
  EXPECT_THAT(said.text, HasSubstr("1 killed: nothing is left"));
}

// No run uses less than a millionth of the cores' time: this one is refused as unhealthy, and stores no result.
TEST_F(Netlab, ARunThatTheCoresHeldUpIsUnhealthy) {
  const std::string result = (test::scratch_folder() / "unhealthy.json").string();
  const Said said = netlab("exec topologies/lab/2x4.json tools/mpirun -n 8 '" FORETOKEN_BINARY
                           "' run scenarios/lab/baseline-2x4.json --set measure.steps=2 --busy-max 0.000001 --out '" +
                           result + "'");
  EXPECT_EQ(said.code, 5) << said.text;
  EXPECT_THAT(said.text, HasSubstr("--busy-max"));
  EXPECT_FALSE(std::filesystem::exists(result));
}

TEST_F(Netlab, APatternThatTheCoresHeldUpIsUnhealthy) {
  const std::string command = "exec topologies/lab/2x1.json tools/mpirun -n 2 '" FORETOKEN_BINARY
                              "' collective send_recv --live --iterations 3 --sizes 64K --json --busy-max ";
  const Said said = netlab(command + "0.000001");
  EXPECT_EQ(said.code, 5) << said.text;
  EXPECT_THAT(said.text, HasSubstr("65536 bytes: "));
  EXPECT_THAT(said.text, testing::Not(HasSubstr("time_us")));
  const Said healthy = netlab(command + "1");
  EXPECT_EQ(healthy.code, 0) << healthy.text;
  EXPECT_THAT(healthy.text, HasSubstr("\"busy\": "));
}

// Node 0 gets half a core: what never rests there for two seconds has had one of them. How much less shows nothing but
// a busy computer. Node 1 gets a quarter, and its processes are those that MPI starts there.
TEST_F(Netlab, NodesHaveTheirSharesOfTheCores) {
  const Said said = netlab(
      "exec topologies/lab/2x1-slow-node.json tools/mpirun -n 2 bash -c '"
      "TIMEFORMAT=\"$(hostname) %U %S\"; time timeout 2 bash -c \"while :; do :; done\"; true'");
  if (said.code == 2) GTEST_SKIP() << "no shares of the cores here: " << said.text;
  ASSERT_EQ(said.code, 0) << said.text;
  for (const auto& [node, most] : {std::pair{"node0 ", 1.15}, {"node1 ", 0.65}}) {
    const std::size_t at = said.text.find(node);
    ASSERT_NE(at, std::string::npos) << said.text;
    double user = 0;
    double system = 0;
    ASSERT_EQ(std::sscanf(said.text.c_str() + at + 6, "%lf %lf", &user, &system), 2) << said.text;
    const double used = user + system;
    EXPECT_LT(used, most) << said.text;
    EXPECT_GT(used, 0.05) << said.text;
  }
}

// Its cgroups too.
TEST_F(Netlab, NothingIsLeftOfKilledLabsWithShares) {
  const Said said = netlab("stress topologies/lab/2x1-slow-node.json 5");
  if (said.code == 2) GTEST_SKIP() << "no shares of the cores here: " << said.text;
  EXPECT_EQ(said.code, 0) << said.text;
  EXPECT_THAT(said.text, HasSubstr("1 killed: nothing is left"));
}

TEST_F(Netlab, OtherTopologiesAreRefusedByName) {
  const Said host = netlab("up topologies/host.json");
  EXPECT_EQ(host.code, 2);
  EXPECT_THAT(host.text, HasSubstr("emulated"));
  EXPECT_EQ(netlab("exec topologies/lab/none.json true").code, 2);
  EXPECT_EQ(netlab("sideways topologies/lab/2x1.json").code, 2);
}

}  // namespace
}  // namespace foretoken::cli
