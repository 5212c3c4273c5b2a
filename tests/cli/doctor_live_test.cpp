// foretoken doctor --live: what readings lead to which findings, and a launch that is measured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/calibration_host.hpp"
#include "foretoken_places.hpp"
#include "plan/machine/topology.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/doctor_live_report.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

using test::Said;
using test::say;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;

// ---- readings by hand
// ------------------------------------------------------------------------------------------------

// Nodes of some ranks each, all alike: products at 10 GFLOP/s, copies at 5 GB/s, 1 GB/s and 1 us within a node, 100
// MB/s and 50 us between the first ranks of nodes.
runtime::HealthReadings healthy(std::int32_t nodes, std::int32_t ranks_per_node) {
  runtime::HealthReadings readings;
  for (std::int32_t node = 0; node < nodes; ++node) {
    readings.hosts.push_back("node" + std::to_string(node));
    for (std::int32_t r = 0; r < ranks_per_node; ++r) {
      readings.node_of_rank.push_back(node);
      readings.cores.push_back({FlopsPerSecond(10e9), BytesPerSecond(5e9)});
    }
  }
  const auto link = [](std::int32_t a, std::int32_t b, double rate, double latency) {
    return runtime::LinkReading{{RankId(a), RankId(b)},
                                Seconds(latency),
                                {BytesPerSecond(rate), BytesPerSecond(rate)},
                                {Bytes(1 << 20), Bytes(1 << 20)}};
  };
  for (std::int32_t node = 0; node < nodes; ++node)
    for (std::int32_t a = 0; a < ranks_per_node; ++a)
      for (std::int32_t b = a + 1; b < ranks_per_node; ++b)
        readings.within_nodes.push_back(link(node * ranks_per_node + a, node * ranks_per_node + b, 1e9, 1e-6));
  for (std::int32_t a = 0; a < nodes; ++a)
    for (std::int32_t b = a + 1; b < nodes; ++b)
      readings.between_nodes.push_back(link(a * ranks_per_node, b * ranks_per_node, 100e6, 50e-6));
  return readings;
}

LiveDiagnosis assessed(runtime::HealthReadings readings, const plan::Machine* machine = nullptr) {
  LiveEvidence evidence;
  evidence.readings = std::move(readings);
  evidence.machine = machine;
  return assess(std::move(evidence), {});
}

TEST(LiveDiagnosis, NothingLooksWrongWhereAllAreAlike) {
  EXPECT_THAT(assessed(healthy(4, 2)).findings, IsEmpty());
  EXPECT_THAT(assessed(healthy(1, 1)).findings, IsEmpty());
}

TEST(LiveDiagnosis, NamesARankWhoseCoreIsSlow) {
  runtime::HealthReadings readings = healthy(2, 4);
  readings.cores[5].product = FlopsPerSecond(5e9);
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, AllOf(HasSubstr("rank 5 on node 1"), HasSubstr("GEMM")));
  EXPECT_THAT(diagnosis.findings[0].evidence, AllOf(HasSubstr("5 GFLOP/s"), HasSubstr("10 GFLOP/s")));
  EXPECT_THAT(diagnosis.findings[0].ranks, ElementsAre(RankId(5)));
}

// Ranks that take turns on the cores: whoever gets less of one is healthy, whose core does less by CPU time is not.
TEST(LiveDiagnosis, RanksThatShareCoresAreJudgedByCpuTime) {
  runtime::HealthReadings readings = healthy(2, 4);
  readings.cores_shared = true;
  for (runtime::CoreReading& core : readings.cores) {
    core.product_by_cpu = FlopsPerSecond(10e9);
    core.copy_by_cpu = BytesPerSecond(5e9);
  }
  readings.cores[5].product = FlopsPerSecond(4e9);
  readings.cores[2].copy = BytesPerSecond(2e9);
  EXPECT_THAT(assessed(readings).findings, IsEmpty());
  readings.cores[5].product_by_cpu = FlopsPerSecond(5e9);
  const LiveDiagnosis slow = assessed(readings);
  ASSERT_EQ(slow.findings.size(), 1U);
  EXPECT_THAT(slow.findings[0].what, AllOf(HasSubstr("rank 5 on node 1"), HasSubstr("by CPU time")));
}

// A quota of a node is none of its core's speed: its ranks get a quarter of one at most, those of the other all of one.
TEST(LiveDiagnosis, OfSharedCoresANodeThatIsLimitedIsNamed) {
  runtime::HealthReadings readings = healthy(2, 4);
  readings.cores_shared = true;
  for (std::size_t r = 0; r < readings.cores.size(); ++r) {
    runtime::CoreReading& core = readings.cores[r];
    core.product_by_cpu = FlopsPerSecond(10e9);
    core.copy_by_cpu = BytesPerSecond(5e9);
    if (r >= 4) core.product = FlopsPerSecond(2.5e9);
  }
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, AllOf(HasSubstr("node 1: "), HasSubstr("GEMM")));
  EXPECT_THAT(diagnosis.findings[0].evidence, AllOf(HasSubstr("25 %"), HasSubstr("100 %")));
}

TEST(LiveDiagnosis, NamesANodeWhoseCoresAreAllSlow) {
  runtime::HealthReadings readings = healthy(2, 4);
  for (std::size_t r = 4; r < 8; ++r) readings.cores[r].product = FlopsPerSecond(5e9);
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, AllOf(HasSubstr("node 1: "), HasSubstr("GEMM")));
  EXPECT_THAT(diagnosis.findings[0].nodes, ElementsAre(1));
  EXPECT_EQ(diagnosis.findings[0].ranks.size(), 4U);
}

TEST(LiveDiagnosis, NamesARankThatIsFarFromItsNodesMemory) {
  runtime::HealthReadings readings = healthy(1, 4);
  for (runtime::LinkReading& link : readings.within_nodes)
    if (link.pair.second == RankId(3)) link.bandwidth = {BytesPerSecond(3e8), BytesPerSecond(3e8)};
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, HasSubstr("rank 3 on node 0"));
}

// Of node 2 all pairs are slow, of the others all but those with it are fast: no topology is needed.
TEST(LiveDiagnosis, NamesTheNodeThatIsOnAllSlowWays) {
  runtime::HealthReadings readings = healthy(4, 2);
  for (runtime::LinkReading& link : readings.between_nodes)
    if (link.pair.first == RankId(4) || link.pair.second == RankId(4))
      link.bandwidth = {BytesPerSecond(50e6), BytesPerSecond(50e6)};
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 2U);  // it sends slowly, and receives slowly
  for (const LiveFinding& finding : diagnosis.findings) {
    EXPECT_THAT(finding.what, HasSubstr("node 2: its link"));
    EXPECT_THAT(finding.nodes, ElementsAre(2));
  }
}

TEST(LiveDiagnosis, NamesAWayWhereBothItsEndsHaveFastOnes) {
  runtime::HealthReadings readings = healthy(4, 1);
  readings.between_nodes[1].bandwidth[0] = BytesPerSecond(40e6);  // from 0 to 2
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, HasSubstr("from node 0 to node 2"));
}

// Both ends of two nodes' link are on all ways; by the topology most links have 10 Mb/s, and node 1's has 5 Mb/s.
TEST(LiveDiagnosis, OfTwoNodesTheTopologySaysWhich) {
  const plan::Machine machine =
      plan::build_machine(plan::read_topology(FORETOKEN_SOURCE_DIR "/topologies/lab/2x8-slow-nic.json"));
  runtime::HealthReadings readings = healthy(2, 8);
  readings.between_nodes[0].bandwidth = {BytesPerSecond(0.6e6), BytesPerSecond(0.6e6)};
  EXPECT_THAT(assessed(readings).findings, IsEmpty());
  const LiveDiagnosis diagnosis = assessed(readings, &machine);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, HasSubstr("node 1: its link"));
  EXPECT_THAT(diagnosis.findings[0].link, HasSubstr("node1.nic0"));
  EXPECT_THAT(diagnosis.findings[0].nodes, ElementsAre(1));
  readings.between_nodes[0].bandwidth = {BytesPerSecond(1.2e6), BytesPerSecond(1.2e6)};
  EXPECT_THAT(assessed(readings, &machine).findings, IsEmpty());
}

TEST(LiveDiagnosis, NamesTheGroupWhoseCommunicationIsSlow) {
  LiveEvidence evidence;
  evidence.readings = healthy(2, 4);
  for (std::int32_t first = 0; first < 8; first += 2)
    evidence.communications.push_back({"all_reduce, ring, 1024 bytes, tp of 2",
                                       {RankId(first), RankId(first + 1)},
                                       Seconds(first == 4 ? 3e-3 : 1e-3)});
  const LiveDiagnosis diagnosis = assess(std::move(evidence), {});
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, HasSubstr("ranks 4, 5: all_reduce"));
  EXPECT_THAT(diagnosis.findings[0].nodes, ElementsAre(1));
}

// All alike, and half as fast as the calibration has it.
TEST(LiveDiagnosis, HoldsWhatAllHaveAgainstTheCalibration) {
  Calibration calibration;
  calibration.name = "known";
  LiveEvidence evidence;
  evidence.readings = healthy(1, 2);
  evidence.calibration = &calibration;
  evidence.communications = {{"send, 8 bytes", {RankId(0), RankId(1)}, Seconds(2e-3)}};
  evidence.predicted = {{"send, 8 bytes", {RankId(0), RankId(1)}, Seconds(1e-3)}};
  const LiveDiagnosis diagnosis = assess(evidence, {});
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  EXPECT_THAT(diagnosis.findings[0].what, HasSubstr("50 % of what the calibration says"));
  evidence.predicted[0].time = Seconds(1.4e-3);
  EXPECT_THAT(assess(evidence, {}).findings, IsEmpty());
}

TEST(LiveDiagnosis, FitsItsSchema) {
  const plan::test::JsonSchema schema(Json::parse(schema_text("live-diagnosis").value()));
  runtime::HealthReadings readings = healthy(3, 2);
  readings.cores[1].copy = BytesPerSecond(1e9);
  const LiveDiagnosis diagnosis = assessed(readings);
  ASSERT_EQ(diagnosis.findings.size(), 1U);
  const Json json = Json::parse(live_diagnosis_json(diagnosis, {"mpi", "", "", ""}).dump());
  EXPECT_THAT(schema.check(json), IsEmpty());
  EXPECT_THAT(live_diagnosis_text(diagnosis, {"mpi", "", "", ""}), HasSubstr("suspicious: rank 1 on node 0"));
}

// ---- on the command line
// ---------------------------------------------------------------------------------------------

TEST(DoctorLive, WantsALaunchAndNoCalibrationToLookAt) {
  const auto said = [](const std::vector<std::string>& arguments) {
    std::ostringstream out, err;
    EXPECT_EQ(run(arguments, out, err), 2);
    return err.str();
  };
  EXPECT_THAT(said({"doctor", "--live"}), HasSubstr("mpirun"));
  EXPECT_THAT(said({"doctor", "--live", "topologies/calibrations/h100-sxm.json"}), HasSubstr("--calibration FILE"));
  EXPECT_THAT(said({"doctor"}), HasSubstr("no calibration is given"));
  EXPECT_THAT(said({"doctor", "topologies/calibrations/h100-sxm.json", "--for", "x.json"}), HasSubstr("about --live"));
}

const std::string kDoctor = "'" FORETOKEN_BINARY "' doctor --live ";

class DoctorLaunch : public testing::Test {
 protected:
  void SetUp() override {
    if (say("command -v mpirun").code != 0) GTEST_SKIP() << "no mpirun here";
  }
};

// What a busy computer is like is no matter of this test: only that everything is measured, and fits the schema.
TEST_F(DoctorLaunch, MeasuresAllOfAScenario) {
  const Said said = say("tools/mpirun -n 4 " + kDoctor +
                        "--json --tolerance 100 --for scenarios/laptop/large-ep-r4.json --steps 1 2>/dev/null");
  ASSERT_THAT(said.code, testing::AnyOf(0, 5)) << said.text;
  const Json json = Json::parse(said.text);
  EXPECT_THAT(plan::test::JsonSchema(Json::parse(schema_text("live-diagnosis").value())).check(json), IsEmpty());
  EXPECT_EQ(json.at("hosts").size(), 1U);
  std::map<std::string, int> kinds;
  for (const Json& check : json.at("checks")) ++kinds[check.at("what").get<std::string>()];
  EXPECT_EQ(kinds["product"], 4);
  EXPECT_EQ(kinds["copy"], 4);
  EXPECT_EQ(kinds["bandwidth within node"], 12);
  EXPECT_EQ(kinds["latency within node"], 6);
  EXPECT_EQ(kinds["dispatch, ep of 4"], 1);
}

// Of a computer that is made up: what it says stands beside what was measured, of cores and of communications.
TEST_F(DoctorLaunch, HoldsAHostAgainstItsCalibration) {
  HostCalibration host;
  host.cores = 2;
  host.source = "here";
  for (auto& curve : host.cache) curve = {{Bytes(1024), Seconds(1e-10)}, {Bytes(4096), Seconds(4e-10)}};
  HostCommunication mpi;
  mpi.communicator = "mpi";
  mpi.source = "here";
  mpi.wake = Seconds(5e-6);
  for (auto& costs : host.unit_costs)
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) costs[static_cast<HostTerm>(t)] = 1e-9;
  for (auto& costs : mpi.unit_costs)
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) costs[static_cast<HostTerm>(t)] = 1e-9;
  for (HostCalibration::Family& family : host.families) {
    family.shortest = Seconds(1e-6);
    family.longest = Seconds(1e-3);
    family.held_out.median = 0.05;
  }
  host.communication.push_back(mpi);
  Calibration calibration;
  calibration.name = "made-up";
  calibration.device.name = "a CPU";
  calibration.sources.push_back({"here", "this computer", "own measurement", 10, ""});
  calibration.host = host;
  const std::string file = testing::TempDir() + "foretoken_doctor_host_" + std::to_string(getpid()) + ".json";
  std::ofstream(file) << calibration_text(calibration);
  const Said said = say("tools/mpirun -n 4 " + kDoctor + "--json --tolerance 100 --calibration '" + file +
                        "' --topology topologies/host.json --for scenarios/laptop/large-ep-r4.json --steps 1 "
                        "2>/dev/null");
  std::filesystem::remove(file);
  ASSERT_THAT(said.code, testing::AnyOf(0, 5)) << said.text;
  const Json json = Json::parse(said.text);
  EXPECT_EQ(json.at("calibration"), "made-up");
  EXPECT_EQ(json.at("topology"), "host");
  int products = 0;
  int dispatches = 0;
  for (const Json& check : json.at("checks")) {
    const bool product = check.at("what") == "product";
    const bool dispatch = check.at("what") == "dispatch, ep of 4";
    products += product ? 1 : 0;
    dispatches += dispatch ? 1 : 0;
    if (!product && !dispatch) continue;
    ASSERT_TRUE(check.at("calibration").is_number()) << check;
    EXPECT_GT(check.at("calibration"), 0);
    const double better = dispatch ? check.at("calibration").get<double>() / check.at("reached").get<double>()
                                   : check.at("reached").get<double>() / check.at("calibration").get<double>();
    EXPECT_NEAR(check.at("beside_calibration").get<double>(), better, 1e-9 * better);
  }
  EXPECT_EQ(products, 4);
  EXPECT_EQ(dispatches, 1);
}

// To one rank, after seconds: cores and links are measured by then, or not; the communications have not come to their
// end.
TEST_F(DoctorLaunch, CtrlCReportsWhatWasMeasured) {
  const Said said = say(
      "tools/mpirun -n 4 bash -c 'if ((OMPI_COMM_WORLD_RANK == 1)); then (sleep 12; kill -INT $$) & fi; exec $0 doctor "
      "--live --json --tolerance 100 --for scenarios/laptop/large-ep-r4.json --steps 20000' '" FORETOKEN_BINARY "'");
  EXPECT_EQ(said.code, 130) << said.text;
  EXPECT_THAT(said.text, AllOf(HasSubstr("foretoken: interrupted: not everything was measured"),
                               HasSubstr("\"interrupted\": true")))
      << said.text;
}

TEST_F(DoctorLaunch, RefusesACalibrationOfGpus) {
  const Said said = say("tools/mpirun -n 2 " + kDoctor + "--calibration topologies/calibrations/h100-sxm.json");
  EXPECT_EQ(said.code, 2) << said.text;
  EXPECT_THAT(said.text, AllOf(HasSubstr("it is a calibration of GPUs"), HasSubstr("calibrate host")));
}

TEST_F(DoctorLaunch, ARankThatIsKilledEndsAllWithOneMessage) {
  const Said one =
      say("tools/mpirun -n 3 bash -c 'if ((OMPI_COMM_WORLD_RANK == 1)); then (sleep 0.7; kill -9 $$) & fi; exec $0 "
          "doctor --live' '" FORETOKEN_BINARY "'");
  EXPECT_NE(one.code, 0);
  // Before MPI has started on a busy computer, mpirun is the first to notice.
  EXPECT_THAT(one.text, testing::AnyOf(AllOf(HasSubstr("rank 1"), HasSubstr("is dead"), HasSubstr("measuring")),
                                       HasSubstr("mpirun noticed that process rank 1")));
}

class DoctorNetlab : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(notes());
    const Said check = netlab("check");
    if (check.code != 0) GTEST_SKIP() << "no emulated clusters here: " << check.text;
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(notes()); }
  static std::string notes() { return testing::TempDir() + "foretoken_doctor_netlab_" + std::to_string(getpid()); }
  static Said netlab(const std::string& arguments) {
    return say("XDG_RUNTIME_DIR='" + notes() + "' FORETOKEN='" FORETOKEN_BINARY "' tools/netlab " + arguments);
  }
};

// The findings that name a node, joined; "" if there is none.
std::string findings_of(const Json& json, const std::string& node) {
  std::string text;
  for (const Json& finding : json.at("findings"))
    if (finding.at("what").get<std::string>().find(node) != std::string::npos)
      text += finding.at("what").get<std::string>() + "\n";
  return text;
}

Json json_in(const std::string& text) {
  const std::size_t begin = text.find("{\n");
  const std::size_t end = text.rfind("\n}");
  return begin == std::string::npos || end == std::string::npos ? Json()
                                                                : Json::parse(text.substr(begin, end + 2 - begin));
}

TEST_F(DoctorNetlab, NamesTheSlowNic) {
  const Said said =
      netlab("exec topologies/lab/2x8-slow-nic.json tools/mpirun -n 16 " + kDoctor + "--json 2>/dev/null");
  ASSERT_EQ(said.code, 5) << said.text;
  const Json json = json_in(said.text);
  ASSERT_TRUE(json.is_object()) << said.text;
  EXPECT_THAT(findings_of(json, "node 1: "), HasSubstr("its link to the other node is slow")) << said.text;
  EXPECT_THAT(findings_of(json, "node 0: "), testing::Not(HasSubstr("its link"))) << said.text;
}

// Node 0 gets half a core, node 1 a quarter.
TEST_F(DoctorNetlab, NamesTheSlowNode) {
  const Said said =
      netlab("exec topologies/lab/2x1-slow-node.json tools/mpirun -n 2 " + kDoctor + "--json 2>/dev/null");
  if (said.code == 2) GTEST_SKIP() << "no shares of the cores here: " << said.text;
  ASSERT_EQ(said.code, 5) << said.text;
  const Json json = json_in(said.text);
  ASSERT_TRUE(json.is_object()) << said.text;
  EXPECT_THAT(findings_of(json, "node 1: "), HasSubstr("product (GEMM) is slow")) << said.text;
}

}  // namespace
}  // namespace foretoken::cli
