// What NCCL noted of a run, in its result; and a simulation with NCCL's choices.
#include "tools/cli/nccl_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using runtime::cuda::NcclObservation;
using test::text_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NcclObservation observation() {
  NcclObservation observed;
  observed.collectives.push_back({plan::OpKind::all_reduce,
                                  8,
                                  1 << 20,
                                  CollectiveAlgorithm::ring,
                                  {{"AllReduce", 1 << 20, "nvls", "simple", 16, 1}},
                                  false});
  observed.estimates.push_back({"tp on compute", "ncclAllReduce", 1 << 20, Seconds(31e-6)});
  observed.topology = text_of("tests/data/import/nccl-topology/hgx8.xml");
  return observed;
}

plan::Topology hgx() { return plan::read_topology("topologies/hgx-h100-2nodes-ndr400.json"); }

TEST(NcclReport, SaysWhatDiffersFromThePlan) {
  const std::string text = nccl_text(observation(), hgx());
  EXPECT_THAT(text, HasSubstr("NCCL carried out all_reduce of 1048576 bytes among 8 ranks as nvls with simple on 16 "
                              "channels, and the plan says ring"));
  EXPECT_THAT(text, testing::Not(HasSubstr("warning")));
}

TEST(NcclReport, WarnsWhereNcclSawAnotherMachine) {
  EXPECT_THAT(topology_differences(observation().topology, hgx()), IsEmpty());
  plan::Topology other = hgx();
  other.gpus_per_node = 4;
  other.nics_per_node = 4;
  other.nic_bandwidth = BytesPerSecond(25e9);
  EXPECT_THAT(topology_differences(observation().topology, other),
              ElementsAre(HasSubstr("8 GPUs in a node"), HasSubstr("8 NICs"), HasSubstr("400 Gb/s")));
  EXPECT_THAT(topology_differences("<system", hgx()), ElementsAre(HasSubstr("NCCL_TOPO_DUMP_FILE")));
}

TEST(NcclReport, FitsTheResultsSchema) {
  const nlohmann::ordered_json json = nccl_json(observation(), hgx());
  EXPECT_EQ(json.at("settings"), nlohmann::ordered_json::array({"deployment.collectives.all_reduce=nvls"}));
  EXPECT_NEAR(json.at("estimates").at(0).at("estimated_us").get<double>(), 31, 1e-9);
  EXPECT_EQ(json.at("topology").at("gpus"), 8);
  nlohmann::json schema = nlohmann::json::parse(schema_text("result").value());
  nlohmann::json part = schema.at("properties").at("live").at("properties").at("cuda").at("properties").at("observed");
  part["definitions"] = schema.at("definitions");
  EXPECT_THAT(plan::test::JsonSchema(part).check(nlohmann::json::parse(json.dump())), IsEmpty());
}

class NcclChoicesOption : public testing::Test {
 protected:
  void SetUp() override {
    file_ = fs::temp_directory_path() / ("foretoken_choices_" + std::to_string(getpid()) + ".json");
  }
  void TearDown() override { fs::remove(file_); }
  int simulate() {
    out_.str("");
    err_.str("");
    return run({"simulate", "scenarios/paper/baseline-tp8-pp2.json", "--nccl-choices", file_.string(), "--json"}, out_,
               err_);
  }
  void store(const nlohmann::ordered_json& observed) {
    std::ofstream(file_) << nlohmann::ordered_json{{"live", {{"cuda", {{"observed", observed}}}}}}.dump();
  }
  fs::path file_;
  std::ostringstream out_, err_;
};

TEST_F(NcclChoicesOption, SetsWhatNcclChose) {
  store(nccl_json(observation(), hgx()));
  ASSERT_EQ(simulate(), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("deployment.collectives.all_reduce=nvls"));
}

TEST_F(NcclChoicesOption, RefusesWhatAScenarioCannotName) {
  NcclObservation observed = observation();
  observed.collectives.push_back(observed.collectives.front());
  observed.collectives.back().bytes = 1024;
  observed.collectives.back().chosen.front().algorithm = "ring";
  store(nccl_json(observed, hgx()));
  EXPECT_EQ(simulate(), 2);
  EXPECT_THAT(err_.str(), HasSubstr("several for one op"));
  std::ofstream(file_) << R"({"live": {}})";
  EXPECT_EQ(simulate(), 2);
  EXPECT_THAT(err_.str(), HasSubstr("no result of a run on GPUs"));
  store({{"collectives", nlohmann::ordered_json::array()},
         {"settings", {"model.layers=3"}},
         {"estimates", nlohmann::ordered_json::array()}});
  EXPECT_EQ(simulate(), 2);
  EXPECT_THAT(err_.str(), HasSubstr("only deployment.collectives"));
}

}  // namespace
}  // namespace foretoken::cli
