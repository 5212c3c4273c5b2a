// foretoken import and foretoken topology import, end to end: what they write is what score, predict and simulate read.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const fs::path kSamples = "tests/data/import";

class ImportCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("foretoken_{}_{}", ::getpid(),
                                                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  int say(const std::vector<std::string>& arguments) {
    out.str("");
    err.str("");
    return run(arguments, out, err);
  }
  std::string in_folder(const std::string& name) const { return (folder / name).string(); }
  static std::string text_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  /// A copy of a sample without its last `lines` lines.
  std::string cut(const std::string& name, int lines) {
    std::string text = text_of(kSamples / name);
    for (int i = 0; i < lines; ++i) text.resize(text.rfind('\n', text.size() - 2) + 1);
    std::ofstream(folder / "cut.txt", std::ios::binary) << text;
    return in_folder("cut.txt");
  }

  fs::path folder;
  std::ostringstream out;
  std::ostringstream err;
};

TEST_F(ImportCommand, WritesLinesThatScoreReads) {
  const std::string log = (kSamples / "nccl-tests/all_reduce_8.txt").string();
  ASSERT_EQ(say({"import", log}), 0) << err.str();
  EXPECT_EQ(err.str(), "foretoken: " + log + ": nccl-tests, 4 ops\n");
  const std::string lines = out.str();
  std::ofstream(folder / "ops.jsonl") << lines;
  ASSERT_EQ(say({"score", in_folder("ops.jsonl"), "--json"}), 0) << err.str();
  EXPECT_EQ(Json::parse(out.str())["all"]["rows"], 4);
}

// Every sample of ops, whatever the tool: each line is an op that is predicted.
TEST_F(ImportCommand, EveryLineOfEverySampleIsScored) {
  struct Sample {
    const char* file;
    std::vector<std::string> settings;
    int ops;
  };
  const std::vector<Sample> samples{
      {"nccl-tests/alltoall_old_mpirun.txt", {"op=alltoall"}, 2},
      {"nccl-tests-json/all_gather_16.json", {}, 2},
      {"deepep/low_latency.txt", {"nodes=1", "tokens=128", "hidden=7168", "top_k=8", "experts=256"}, 2},
      {"deepep/internode.txt", {"ep=16", "nodes=2", "experts=256"}, 3},
      {"deepep/elastic.txt", {}, 2},
      {"op-table/gemm.csv", {}, 2},
      {"op-table/attention.csv", {}, 2},
      {"op-table/mla.csv", {}, 1},
      {"op-table/moe.csv", {}, 1},
      {"op-table/nccl.csv", {}, 2},
      {"op-table/custom_allreduce.csv", {}, 1},
      {"op-table/deepep_ll.csv", {}, 2},
      {"op-table/deepep_normal.csv", {}, 2}};
  for (const Sample& sample : samples) {
    std::vector<std::string> arguments{"import", (kSamples / sample.file).string(), "--out", in_folder("ops.jsonl")};
    for (const std::string& setting : sample.settings) arguments.insert(arguments.end(), {"--set", setting});
    ASSERT_EQ(say(arguments), 0) << sample.file << ": " << err.str();
    EXPECT_THAT(out.str(), IsEmpty());
    ASSERT_EQ(say({"score", in_folder("ops.jsonl"), "--json"}), 0) << sample.file << ": " << err.str();
    EXPECT_EQ(Json::parse(out.str())["all"]["rows"], sample.ops) << sample.file;
  }
}

TEST_F(ImportCommand, RefusesADamagedLogUnlessAskedForWhatIsGood) {
  const std::string log = cut("nccl-tests/all_reduce_8.txt", 4);
  ASSERT_EQ(say({"import", log, "--out", in_folder("ops.jsonl")}), 2);
  EXPECT_EQ(err.str(),
            "foretoken: " + log +
                ":20: the table ends without its footer, \"# Avg bus bandwidth\"; was the run killed? repeat "
                "it, or keep what is there with --keep-good\n");
  EXPECT_FALSE(fs::exists(folder / "ops.jsonl"));
  ASSERT_EQ(say({"import", log, "--keep-good"}), 0);
  const std::string lines = out.str();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 3);
  EXPECT_THAT(err.str(), HasSubstr("  damaged: " + log + ":20: the table ends without its footer"));
}

TEST_F(ImportCommand, ImportsSeveralFilesAndReportsAsJson) {
  ASSERT_EQ(say({"import", (kSamples / "nccl-tests/all_reduce_8.txt").string(),
                 (kSamples / "perftest/ib_write_bw.txt").string(), "--json", "--set", "date=2026-05-05"}),
            0)
      << err.str();
  EXPECT_THAT(err.str(), IsEmpty());
  const Json report = Json::parse(out.str());
  ASSERT_EQ(report["files"].size(), 2U);
  EXPECT_EQ(report["files"][0]["format"], "nccl-tests");
  EXPECT_EQ(report["files"][1]["format"], "perftest");
  EXPECT_EQ(report["files"][1]["left_out"]["of bandwidth below 1 MiB, which messages per second bound"], 1);
  EXPECT_EQ(report["ops"].size(), 4U);
  ASSERT_EQ(report["links"].size(), 3U);
  EXPECT_EQ(report["links"][0]["link"], "infiniband");
  EXPECT_EQ(report["links"][0]["bytes_per_second"], 49e9);
  EXPECT_EQ(report["links"][0]["date"], "2026-05-05");
}

// 49.2 GB/s, the median of three sizes, of a nominal 50.
TEST_F(ImportCommand, PutsMeasuredLinksIntoACalibration) {
  const std::string log = (kSamples / "perftest/ib_write_bw.txt").string();
  ASSERT_EQ(say({"import", log, "--links", in_folder("mine.json")}), 0) << err.str();
  EXPECT_THAT(err.str(),
              HasSubstr("  infiniband: 49.2 GB/s one way, RDMA_Write BW Test (49.0 GB/s to 49.3 GB/s, 3 rows)\n"));
  const Calibration mine = read_calibration(in_folder("mine.json"));
  EXPECT_DOUBLE_EQ(mine.network.infiniband.payload_efficiency, 0.984);
  EXPECT_EQ(mine.network.infiniband.source, "imported-infiniband");
  const Calibration shipped = read_calibration("topologies/calibrations/h100-sxm.json");
  EXPECT_DOUBLE_EQ(mine.network.nvlink.payload_efficiency, shipped.network.nvlink.payload_efficiency);

  EXPECT_EQ(say({"import", log, "--links", in_folder("mine.json"), "--set", "infiniband=200 Gb/s"}), 2);
  EXPECT_THAT(err.str(), HasSubstr("reached 49.2 GB/s of infiniband's nominal 25.0 GB/s"));
  EXPECT_EQ(say({"import", (kSamples / "op-table/gemm.csv").string(), "--links", in_folder("mine.json")}), 2);
  EXPECT_THAT(err.str(), HasSubstr("no log has a link's bandwidth"));
  EXPECT_EQ(say({"import", log, "--calibration", in_folder("mine.json")}), 2);
}

TEST_F(ImportCommand, SaysWhatItCannotUse) {
  EXPECT_EQ(say({"import", in_folder("none")}), 2);
  EXPECT_EQ(err.str(),
            "foretoken: " + in_folder("none") + ": cannot be read; name a log that another tool has written\n");
  EXPECT_EQ(say({"import", folder.string()}), 2);
  EXPECT_THAT(err.str(), HasSubstr("is a folder"));
  std::ofstream(folder / "letter.txt") << "Dear all,\n";
  EXPECT_EQ(say({"import", in_folder("letter.txt")}), 2);
  EXPECT_THAT(err.str(), HasSubstr("is no log that is known; say which it is with --format: nccl-tests, "));
  EXPECT_EQ(say({"import", (kSamples / "nccl-topology/hgx8.xml").string()}), 2);
  EXPECT_THAT(err.str(), HasSubstr("use `foretoken topology import`"));
  EXPECT_EQ(say({"topology", "import", (kSamples / "op-table/gemm.csv").string()}), 2);
  EXPECT_THAT(err.str(), HasSubstr("use `foretoken import`"));
  EXPECT_EQ(say({"import", in_folder("letter.txt"), "--format", "letter"}), 2);
  EXPECT_EQ(say({"import", in_folder("letter.txt"), "--out", in_folder("letter.txt")}), 2);
  EXPECT_EQ(say({"topology"}), 2);
}

TEST_F(ImportCommand, MakesATopologyThatIsSimulatedAtOnce) {
  const std::string cluster = in_folder("cluster.json");
  ASSERT_EQ(
      say({"topology", "import", (kSamples / "nccl-topology/hgx8.xml").string(), "--set", "nodes=2", "--out", cluster}),
      0)
      << err.str();
  EXPECT_EQ(err.str(), "foretoken: NIC \"eth0\" is left out: it is slower than 400 Gb/s\n");
  ASSERT_EQ(say({"topology", cluster, "--json"}), 0) << err.str();
  EXPECT_EQ(Json::parse(out.str())["nodes"], 2);
  ASSERT_EQ(say({"simulate", "scenarios/paper/baseline-tp8-pp2.json", "--topology", cluster, "--layers-sampled", "6",
                 "--json"}),
            0)
      << err.str();
  EXPECT_GT(Json::parse(out.str())["tpot_ms"]["mean"].get<double>(), 0);

  ASSERT_EQ(say({"topology", "import", (kSamples / "nvidia-smi-topo/hgx8.txt").string(), "--set", "sm=90", "--set",
                 "nic=400 Gb/s", "--set", "pcie=63 GB/s"}),
            0)
      << err.str();
  EXPECT_EQ(Json::parse(out.str())["node"]["gpus"], 8);
}

}  // namespace
}  // namespace foretoken::cli
