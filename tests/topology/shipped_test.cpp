// Every topology that is shipped: it loads, lint finds in it what its text says and no more, it is drawn, and a
// scenario of its size is simulated on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/scratch_folder.hpp"
#include "tests/topology/files.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::topology {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::IsEmpty;

struct Answer {
  int code = -1;
  std::string out;
  std::string err;
};

Answer say(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = cli::run(arguments, out, err);
  return {code, out.str(), err.str()};
}

std::vector<std::string> topologies() {
  std::vector<std::string> files;
  for (const char* folder : {"topologies", "topologies/lab"})
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".json" && !entry.path().string().ends_with(".schema.json"))
        files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

class Shipped : public ::testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] bool is_lab() const { return GetParam().find("/lab/") != std::string::npos; }
};

// Labs are emulated; that a B200 cannot fill its NIC, or that a cable is slow, is what some files are about.
TEST_P(Shipped, HasWhatItsTextSaysAndNothingElseThatIsSuspicious) {
  const std::map<std::string, std::string> about{{"topologies/hgx-b200-8nodes-xdr800.json", "/node/nic/bandwidth"},
                                                 {"topologies/lab/2x8-slow-nic.json", "/fabric/links/1/bandwidth"},
                                                 {"topologies/lab/4x4-slow-nic.json", "/fabric/links/1/bandwidth"}};
  const Answer answer = say({"topology", "lint", GetParam(), "--json"});
  std::vector<std::string> expected;
  if (is_lab()) expected.emplace_back("/node/host/emulated");
  if (const auto known = about.find(GetParam()); known != about.end()) expected.push_back(known->second);
  std::vector<std::string> found;
  const json answered = json::parse(answer.out);
  for (const json& finding : answered["findings"]) found.push_back(finding["pointer"]);
  EXPECT_THAT(found, ::testing::UnorderedElementsAreArray(expected)) << answer.out;
  EXPECT_EQ(answer.code, expected.empty() ? 0 : 4) << answer.err;
}

TEST_P(Shipped, IsDrawn) {
  const Answer answer = say({"topology", "show", GetParam()});
  EXPECT_EQ(answer.code, 0) << answer.err;
}

// Numbers of GPUs have a source each, in words that a reader can follow.
TEST_P(Shipped, NamesASourceOfEachNumber) {
  const plan::Topology topology = plan::read_topology(GetParam());
  for (const auto& source : topology.sources) EXPECT_GE(source.source.size(), 10U) << source.quantity;
}

std::string label(const ::testing::TestParamInfo<std::string>& test) {
  std::string name =
      fs::path(test.param).parent_path().filename().string() + "_" + fs::path(test.param).stem().string();
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Files, Shipped, ::testing::ValuesIn(topologies()), label);

// ---- a scenario on each machine of GPUs ----------------------------------------------------------------------------

double tpot_ms(const std::string& scenario, const std::string& topology, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"simulate", scenario, "--topology", topology, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Answer answer = say(arguments);
  EXPECT_EQ(answer.code, 0) << topology << ": " << answer.err;
  return answer.code == 0 ? json::parse(answer.out)["tpot_ms"]["mean"].get<double>() : 0;
}

const std::string kLargeEp = "scenarios/paper/large-ep64.json";
// Without the scenario's own cluster.nic, so that a machine's is what counts.
const std::string kServed = "scenarios/served/deepseek-v3-ep32.json";
const std::vector<std::string> kFewLayers{"--layers-sampled", "4"};

double large_ep(const std::string& name) {
  json scenario = json_of(kLargeEp);
  scenario["cluster"] = {{"topology", fs::absolute("topologies/" + name + ".json").string()}};
  scenario["measure"] = {{"warmup_steps", 4}, {"steps", 4}};
  const fs::path file = test::scratch_folder() / (name + ".json");
  std::ofstream(file) << scenario.dump();
  return tpot_ms(file.string(), "topologies/" + name + ".json");
}

double all_to_all_us(const std::string& name) {
  const Answer answer = say({"collective", "all_to_all", "--topology", "topologies/" + name + ".json", "--ranks", "64",
                             "--sizes", "64M", "--ideal", "--json"});
  EXPECT_EQ(answer.code, 0) << name << ": " << answer.err;
  return answer.code == 0 ? json::parse(answer.out)["rows"][0]["time_us"].get<double>() : 0;
}

// 64 GPUs send to one another, each as much to each, over the bare links. Half the NICs take twice as long; RoCE's take
// 1 / 0.9866 as long, and a little latency. Of 8 nodes 4 are on a leaf, so that 4/7 of what leaves a node crosses
// uplinks of half the rate, by static routes: at least 8/7 as long.
TEST(ShippedMachines, MoveBytesAsTheirNetworksCan) {
  const double plain = all_to_all_us("hgx-h100-8nodes-ndr400");
  EXPECT_NEAR(all_to_all_us("hgx-h100-8nodes-4nics-ndr400") / plain, 2, 0.01);
  EXPECT_NEAR(all_to_all_us("hgx-h100-8nodes-roce400") / plain, 1 / 0.9866, 0.002);
  EXPECT_GT(all_to_all_us("hgx-h100-64nodes-2to1-ndr400") / plain, 8.0 / 7);
}

// Exchanges of the paper's layers are bound by kernels as well as by NICs: where a network has less, a step is no
// faster.
TEST(ShippedMachines, ServeTheLargeExpertParallelismNoFasterWithLess) {
  const double plain = large_ep("hgx-h100-8nodes-ndr400");
  EXPECT_GT(plain, 1);
  EXPECT_LT(plain, 10);
  EXPECT_GT(large_ep("hgx-h100-8nodes-4nics-ndr400"), 1.05 * plain) << "half the NICs";
  EXPECT_GE(large_ep("hgx-h100-8nodes-roce400"), plain);
  EXPECT_GE(large_ep("hgx-h100-64nodes-2to1-ndr400"), plain);
}

TEST(ShippedMachines, OrderByTheirGpus) {
  const double h100 = large_ep("hgx-h100-8nodes-ndr400");
  const double h200 = large_ep("hgx-h200-8nodes-ndr400");
  const double b200 = large_ep("hgx-b200-8nodes-ndr400");
  EXPECT_LT(h200, h100);
  EXPECT_LT(b200, h200);
  // A GPU's own PCIe link has 63 GB/s, 1.26 times what the slower NIC has.
  const double fast_nics = large_ep("hgx-b200-8nodes-xdr800");
  EXPECT_LE(fast_nics, b200);
  EXPECT_GT(fast_nics, 0.7 * b200);
}

// All 64 ranks in one NVLink domain: nothing crosses a NIC, and it is faster than 8 nodes of about the same GPU.
TEST(ShippedMachines, OneRackIsOneDomain) { EXPECT_LT(large_ep("gb200-nvl72"), large_ep("hgx-b200-8nodes-ndr400")); }

TEST(ShippedMachines, ServeDeepSeekV3OnThirtyTwoGpus) {
  for (const char* name : {"hgx-h100-4nodes-ndr400", "hgx-h100-8nodes-4nics-ndr400", "hgx-h200-8nodes-ndr400",
                           "hgx-b200-8nodes-xdr800", "hgx-h100-32nodes-rails-ndr400", "gb200-nvl72"}) {
    const double ms = tpot_ms(kServed, std::string("topologies/") + name + ".json", kFewLayers);
    EXPECT_GT(ms, 5) << name;
    EXPECT_LT(ms, 200) << name;
  }
}

}  // namespace
}  // namespace foretoken::topology
