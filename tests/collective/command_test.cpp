// foretoken collective, end to end.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kTwoNodes = std::string(FORETOKEN_SOURCE_DIR) + "/topologies/hgx-h100-2nodes-ndr400.json";

class CollectiveCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / fmt::format("foretoken_{}_{}", ::getpid(),
                                                     ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  int say(std::vector<std::string> more) {
    out.str("");
    err.str("");
    more.insert(more.begin(), "collective");
    return run(more, out, err);
  }
  // On two nodes; checked against the schema.
  json rows(std::vector<std::string> more) {
    more.insert(more.end(), {"--topology", kTwoNodes, "--json"});
    EXPECT_EQ(say(std::move(more)), 0) << err.str();
    return checked();
  }
  json checked() {
    const json printed = json::parse(out.str());
    const plan::test::JsonSchema schema(json::parse(schema_text("collective").value()));
    EXPECT_THAT(schema.check(printed), IsEmpty());
    return printed;
  }
  std::string refusal(std::vector<std::string> more) {
    EXPECT_EQ(say(std::move(more)), 2);
    EXPECT_THAT(out.str(), IsEmpty());
    return err.str();
  }

  fs::path folder;
  std::ostringstream out;
  std::ostringstream err;
};

TEST_F(CollectiveCommand, PrintsTheTableOfNcclTests) {
  ASSERT_EQ(say({"all_reduce", "--topology", kTwoNodes, "--sizes", "1K:1G:1K"}), 0) << err.str();
  EXPECT_THAT(out.str(), HasSubstr("all_reduce among 16 ranks on 2 nodes of hgx-h100-2nodes-ndr400, fp32"));
  EXPECT_THAT(out.str(), HasSubstr("busbw"));
  EXPECT_THAT(out.str(), HasSubstr("tree"));
  EXPECT_THAT(err.str(), IsEmpty());  // no terminal, no bar
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4 + 3);  // headings, and 1 KiB, 1 MiB and 1 GiB
}

// busbw / algbw with 16 ranks: 2 x 15/16, 15/16, 15/16, 15/16, 1.
TEST_F(CollectiveCommand, BandwidthsAreDefinedAsByNcclTests) {
  const std::vector<std::pair<std::string, double>> factors{{"all_reduce", 1.875},
                                                            {"all_gather", 0.9375},
                                                            {"reduce_scatter", 0.9375},
                                                            {"all_to_all", 0.9375},
                                                            {"send_recv", 1.0}};
  for (const auto& [operation, factor] : factors) {
    const json table = rows({operation, "--sizes", "64K,4M"});
    ASSERT_EQ(table["rows"].size(), 2U) << operation;
    for (const json& row : table["rows"]) {
      const double algbw = row["algbw_bytes_per_second"];
      EXPECT_NEAR(algbw, row["size_bytes"].get<double>() / row["time_us"].get<double>() * 1e6, algbw * 1e-12);
      EXPECT_NEAR(row["busbw_bytes_per_second"].get<double>() / algbw, factor, 1e-12) << operation;
    }
  }
  // Equal parts of all_to_all_v are an all_to_all.
  EXPECT_EQ(rows({"all_to_all_v", "--sizes", "4M"})["rows"], rows({"all_to_all", "--sizes", "4M"})["rows"]);
}

// 16 ranks on 2 nodes, 4 MiB: 8 parts of 256 KiB leave through each NIC of 50 GB/s: 41.943 us. Hops: 2 x (115 + 150)
// ns.
TEST_F(CollectiveCommand, IdealDropsAllButBytesAndHops) {
  const auto time = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"all_to_all", "--sizes", "4M"});
    return rows(std::move(more))["rows"][0]["time_us"].get<double>();
  };
  EXPECT_NEAR(time({"--ideal", "--zero-latency"}), 41.94304, 1e-6);
  EXPECT_NEAR(time({"--ideal"}), 41.94304 + 0.53, 1e-6);
  EXPECT_GT(time({"--zero-latency"}), 41.94304);  // 0.98 of the NIC is payload
  EXPECT_GT(time({}), time({"--zero-latency"}));
}

TEST_F(CollectiveCommand, ExchangesHaveTokens) {
  const json table = rows({"dispatch", "--tokens", "64,256", "--hidden", "1024", "--top-k", "4", "--experts", "64"});
  ASSERT_EQ(table["rows"].size(), 2U);
  EXPECT_EQ(table["dtype"], "fp8");
  // 64 tokens to 4 experts each: rows of 1,024 values, 8 scales and 16 bytes of header.
  EXPECT_EQ(table["rows"][0]["size_bytes"], 64 * 4 * (1024 + 32 + 16));
  EXPECT_EQ(table["rows"][0]["algorithm"], "low_latency");
  EXPECT_EQ(table["rows"][1]["algorithm"], "hierarchical");
  EXPECT_EQ(rows({"combine"})["dtype"], "bf16");
  // More SMs are faster, until NVLink is full.
  const auto with_sms = [&](const char* sms) {
    return rows({"combine", "--tokens", "4096", "--sms", sms})["rows"][0]["time_us"].get<double>();
  };
  EXPECT_LT(with_sms("20"), with_sms("8"));
}

// The numbers of the calibration are SMs' up to 20 of them, and the NIC's with 100: only then does a faster NIC help.
TEST_F(CollectiveCommand, AFasterNicHelpsAnExchangeThatItLimits) {
  const fs::path faster = folder / "faster.json";
  json topology = json::parse(std::ifstream(kTwoNodes));
  topology["node"]["nic"]["bandwidth"] = "800 Gb/s";
  for (const char* key : {"device", "calibration"})
    topology[key] = (fs::path(kTwoNodes).parent_path() / topology[key].get<std::string>()).string();
  std::ofstream(faster) << topology;
  const auto time = [&](const std::string& machine, const char* sms) {
    EXPECT_EQ(say({"dispatch", "--algorithm", "hierarchical", "--tokens", "4096", "--experts", "256", "--top-k", "1",
                   "--topology", machine, "--sms", sms, "--json"}),
              0)
        << err.str();
    return checked()["rows"][0]["time_us"].get<double>();
  };
  EXPECT_DOUBLE_EQ(time(faster.string(), "20"), time(kTwoNodes, "20"));
  EXPECT_LT(time(faster.string(), "100"), time(kTwoNodes, "100"));
}

// 240 messages that differ may take 0.2 ms, and with an accuracy 19 ms; equal ones are two kinds.
TEST_F(CollectiveCommand, WhatWouldTakeTooLongIsRefusedUnlessItIsAllowed) {
  const fs::path file = folder / "pattern.txt";
  std::ofstream pattern(file);
  for (int from = 0; from < 16; ++from)
    for (int to = 0; to < 16; ++to) pattern << 100 + 16 * from + to << (to < 15 ? ' ' : '\n');
  pattern.close();
  const std::vector<std::string> asked{"all_to_all_v", "--pattern", file.string(), "--topology",
                                       kTwoNodes,      "--sizes",   "1M",          "--time-limit"};
  const auto within = [&](const char* seconds, std::vector<std::string> more = {}) {
    std::vector<std::string> all = asked;
    all.emplace_back(seconds);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  EXPECT_EQ(say(within("1e-3")), 0) << err.str();
  const std::string refused = refusal(within("1e-5"));
  EXPECT_THAT(refused, HasSubstr("240 flows that differ may take"));
  EXPECT_THAT(refused, HasSubstr("--accuracy 1e-3"));
  EXPECT_THAT(refused, HasSubstr("--time-limit"));
  EXPECT_THAT(refusal(within("1e-3", {"--accuracy", "1e-3"})), Not(HasSubstr("--accuracy")));
  EXPECT_EQ(say({"all_to_all", "--topology", kTwoNodes, "--sizes", "1M", "--time-limit", "1e-5"}), 0) << err.str();
}

// Nothing moves, and no calibration says how long that takes.
TEST_F(CollectiveCommand, OneRankAloneRestsOnNothing) {
  for (const char* operation : {"send_recv", "all_reduce", "all_to_all"}) {
    const json row = rows({operation, "--ranks", "1", "--sizes", "1K"})["rows"][0];
    EXPECT_EQ(row["time_us"], 0) << operation;
    EXPECT_FALSE(row.contains("provenance")) << operation;
  }
}

// 8 ranks on one node and 4 on the other: four rings cross, as with 4 and 4, and each NIC carries 22/4 of a twelfth.
TEST_F(CollectiveCommand, TheNodeWithTheFewestRanksSetsThePace) {
  const json row =
      rows({"all_reduce", "--ranks", "12", "--algorithm", "ring", "--sizes", "1200M", "--ideal"})["rows"][0];
  EXPECT_NEAR(row["time_us"].get<double>(), 22.0 / 4 * 100 * (1 << 20) / 50e3, 20);
  EXPECT_EQ(rows({"all_reduce", "--ranks", "12", "--sizes", "1M"})["rows"][0]["provenance"], "extrapolated");
}

TEST_F(CollectiveCommand, FlowsEndOneByOne) {
  const fs::path file = folder / "flows.csv";
  // Rank 0 to 1 and 2 over one NVLink of 450 GB/s, 4.5 MB each, hops 0.2 us; a later one alone.
  std::ofstream(file)
      << "# two at once\nsource,destination,bytes,start_us\n0,1,4500000,0\n0,2,4500000,0\n3,4,4500000,100\n";
  ASSERT_EQ(say({"--flows", file.string(), "--topology", kTwoNodes, "--ideal", "--json"}), 0) << err.str();
  const json report = checked();
  EXPECT_EQ(report["kind"], "flows");
  EXPECT_NEAR(report["flows"][0]["completion_us"].get<double>(), 20.2, 1e-9);
  EXPECT_NEAR(report["flows"][1]["completion_us"].get<double>(), 20.2, 1e-9);
  EXPECT_NEAR(report["flows"][2]["completion_us"].get<double>(), 110.2, 1e-9);
  EXPECT_NEAR(report["makespan_us"].get<double>(), 110.2, 1e-9);
  ASSERT_EQ(say({"--flows", file.string(), "--topology", kTwoNodes, "--ideal"}), 0);
  EXPECT_THAT(out.str(), HasSubstr("source,destination,bytes,start_us,completion_us\n0,1,4500000,0,20.2"));
  std::ofstream(file) << "source,destination,bytes,start_us\n0,16,1,0\n";
  EXPECT_THAT(refusal({"--flows", file.string(), "--topology", kTwoNodes}), HasSubstr("flows.csv:2"));
}

TEST_F(CollectiveCommand, PatternsComeFromAFile) {
  const fs::path file = folder / "pattern.txt";
  std::ofstream(file) << "0 1\n1 0\n";
  const json table = rows({"all_to_all_v", "--ranks", "2", "--sizes", "1M", "--pattern", file.string()});
  EXPECT_EQ(table["rows"][0]["size_bytes"], 1 << 20);
  EXPECT_DOUBLE_EQ(table["rows"][0]["busbw_bytes_per_second"].get<double>(),
                   table["rows"][0]["algbw_bytes_per_second"].get<double>());
  EXPECT_THAT(refusal({"all_to_all_v", "--topology", kTwoNodes, "--pattern", file.string()}), HasSubstr("2 numbers"));
}

TEST_F(CollectiveCommand, RunsLive) {
  ASSERT_EQ(say({"all_reduce", "--live", "--ranks", "2", "--sizes", "1K", "--iterations", "3", "--json"}), 0)
      << err.str();
  const json table = checked();
  EXPECT_EQ(table["clock"], "wall");
  EXPECT_EQ(table["iterations"], 3);
  EXPECT_FALSE(table["rows"][0].contains("provenance"));
}

// Every process is a rank, and rank 0 alone prints.
TEST_F(CollectiveCommand, RunsUnderMpirun) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the MPI library keeps what it allocates";
#endif
  if (std::system("command -v mpirun >/dev/null 2>&1") != 0)  // NOLINT(concurrency-mt-unsafe)
    GTEST_SKIP() << "mpirun is not installed";
  const auto launch = [&](const std::string& more) {
    const fs::path file = folder / "mpi.json";
    const std::string command =
        fmt::format("'{}/tools/mpirun' -n 2 '{}' collective {} --live --iterations 3 --json > '{}' 2> '{}.err'",
                    FORETOKEN_SOURCE_DIR, FORETOKEN_BINARY, more, file.string(), file.string());
    const int status = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe)
    const auto read = [](std::ostringstream& stream, const fs::path& from) {
      const std::ifstream text(from);
      stream.clear();  // an empty file is a failure to an output stream
      stream.str("");
      stream << text.rdbuf();
    };
    read(out, file);
    read(err, file.string() + ".err");
    return WEXITSTATUS(status);
  };
  for (const char* operation : {"all_reduce", "all_to_all_v --pattern skewed"}) {
    ASSERT_EQ(launch(std::string(operation) + " --sizes 1K,64K"), 0) << err.str();
    const json table = checked();
    EXPECT_EQ(table["communicator"], "mpi");
    EXPECT_EQ(table["ranks"], 2);
    EXPECT_EQ(table["rows"].size(), 2U);
  }
  EXPECT_EQ(launch("all_reduce --sizes 1K --ranks 3"), 2);
  EXPECT_THAT(err.str(), HasSubstr("3 ranks, and 2 processes were started"));
}

TEST_F(CollectiveCommand, IsStored) {
  const fs::path file = folder / "table.json";
  ASSERT_EQ(say({"all_reduce", "--topology", kTwoNodes, "--sizes", "1K", "--out", file.string()}), 0);
  EXPECT_THAT(out.str(), HasSubstr("# all_reduce"));
  EXPECT_EQ(json::parse(std::ifstream(file))["kind"], "collective");
  const fs::path copy = folder / "topology.json";
  fs::copy_file(kTwoNodes, copy);
  EXPECT_EQ(say({"all_reduce", "--topology", copy.string(), "--ideal", "--out", copy.string()}), 2);
}

TEST_F(CollectiveCommand, WhatMeansNothingIsRefused) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{}, "no operation is given"},
      {{"all_reduce"}, "no machine is given"},
      {{"all_redeuce", "--topology", kTwoNodes}, "there is no \"all_redeuce\""},
      {{"all_reduce", "--topology", "no/such.json"}, "no/such.json"},
      {{"all_reduce", "--topology", kTwoNodes, "--ranks", "17"}, "17 ranks are more than"},
      {{"all_reduce", "--topology", kTwoNodes, "--sizes", "8:4"}, "ends before it begins"},
      {{"all_reduce", "--topology", kTwoNodes, "--dtype", "fp4"}, "there is no \"fp4\""},
      {{"all_reduce", "--topology", kTwoNodes, "--algorithm", "nvls"}, "span 2 nodes"},
      {{"all_gather", "--topology", kTwoNodes, "--algorithm", "tree"}, "not all_gather"},
      {{"all_reduce", "--topology", kTwoNodes, "--tokens", "8"}, "--tokens: is about dispatch and combine"},
      {{"all_reduce", "--topology", kTwoNodes, "--pattern", "skewed"}, "is about all_to_all_v"},
      {{"all_reduce", "--topology", kTwoNodes, "--iterations", "5"}, "is about --live"},
      {{"all_reduce", "--topology", kTwoNodes, "--busy-max", "0.7"}, "--busy-max: is about --live"},
      {{"all_reduce", "--topology", kTwoNodes, "--ideal", "--calibration", "x"}, "means nothing beside --ideal"},
      {{"dispatch", "--topology", kTwoNodes, "--sizes", "8"}, "has --tokens"},
      {{"dispatch", "--topology", kTwoNodes, "--experts", "24"}, "spread unevenly over 16 ranks"},
      {{"dispatch", "--topology", kTwoNodes, "--ranks", "9", "--experts", "90"}, "spread unevenly over 2 nodes"},
      {{"dispatch", "--topology", kTwoNodes, "--ranks", "12", "--experts", "48"},
       "12 ranks are spread unevenly over 2"},
      {{"combine", "--topology", kTwoNodes, "--ranks", "12", "--experts", "48"}, "fill whole nodes"},
      {{"dispatch", "--topology", kTwoNodes, "--top-k", "17", "--experts", "16"}, "17 of 16 experts"},
      {{"dispatch", "--topology", kTwoNodes, "--tokens", "1G"}, "tokens per rank"},
      {{"all_reduce", "--live", "--topology", kTwoNodes}, "--topology: is about simulation"},
      {{"all_reduce", "--live", "--ranks", "2", "--ideal"}, "--ideal: is about simulation"},
      {{"all_reduce", "--live"}, "--ranks: is not given"},
      {{"all_reduce", "--live", "--ranks", "2", "--dtype", "bf16"}, "fp32 alone"},
      {{"all_reduce", "--flows", "x", "--topology", kTwoNodes}, "beside --flows"},
      {{"--flows", "x", "--topology", kTwoNodes, "--sizes", "8"}, "beside --flows"},
      {{"--flows", "x"}, "no machine is given"},
      {{"--flows", "no/such.csv", "--topology", kTwoNodes}, "no/such.csv"},
      {{"all_reduce", "--topology", std::string(FORETOKEN_SOURCE_DIR) + "/topologies/host.json"},
       "names no calibration"},
      {{"all_reduce", "--ideal", "--topology", std::string(FORETOKEN_SOURCE_DIR) + "/topologies/host.json"},
       "is a host"},
      {{"all_reduce", "--topology", kTwoNodes, "--communicator", "mpi"}, "is of hosts"},
  };
  for (const auto& [arguments, expected] : cases)
    EXPECT_THAT(refusal(arguments), HasSubstr(expected)) << fmt::format("{}", fmt::join(arguments, " "));
}

}  // namespace
}  // namespace foretoken::cli
