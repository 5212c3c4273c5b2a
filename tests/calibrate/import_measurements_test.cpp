// What the importers make of whole logs: every number that is handed on, and what is left out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "calibrate/import/log_formats.hpp"
#include "tests/calibrate/import_log.hpp"

namespace foretoken::calibrate {
namespace {

using Op = nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

TEST(ImportNcclTests, HandsOnOutOfPlaceTimesAndWhoTookPart) {
  const Imported log = imported(sample("nccl-tests/all_reduce_8.txt"));
  ASSERT_EQ(log.ops().size(), 4U);
  EXPECT_EQ(log.ops()[1], Op::parse(R"({"op": "all_reduce", "dtype": "bf16", "ranks": 8, "nodes": 1, "bytes": 2097152,
                                        "measured_us": 50.0, "in_place_us": 49.8, "tool": "nccl-tests",
                                        "tool_version": "2.17.6", "nccl_version": "2.28.3",
                                        "device": "NVIDIA H100 80GB HBM3", "source": "log:19"})"));
  EXPECT_THAT(log.left_out(), IsEmpty());
}

// An old version: no name of the program, no groups, no root, `error` instead of `#wrong`; every line tagged by mpirun,
// and a line of NCCL_DEBUG in the table.
TEST(ImportNcclTests, ReadsOldVersionsUnderMpirun) {
  const Imported log = imported(sample("nccl-tests/alltoall_old_mpirun.txt"), {"op=alltoall", "date=2026-05-01"});
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0], Op::parse(R"({"op": "all_to_all", "dtype": "fp16", "ranks": 4, "nodes": 2, "bytes": 65536,
                                        "measured_us": 20.0, "in_place_us": 21.0, "tool": "nccl-tests",
                                        "device": "NVIDIA H100", "date": "2026-05-01", "source": "log:13"})"));
  EXPECT_THAT(log.left_out(), ElementsAre(Pair("of no bytes", 1)));
}

TEST(ImportNcclTests, ReadsRunsThatFollowOneAnother) {
  const std::string one = sample("nccl-tests/all_reduce_8.txt");
  std::string two = with(one, "all_reduce_perf", "sendrecv_perf");
  for (const char* bus : {"45.88", "73.40", "114.69", "163.11"}) {
    const std::string row = two.substr(0, two.find(bus));
    const std::string rate = row.substr(row.size() - 8, 6);
    two = with(two, bus, rate);
  }
  const Imported log = imported(one + two);
  ASSERT_EQ(log.ops().size(), 8U);
  EXPECT_EQ(log.ops()[3]["op"], "all_reduce");
  EXPECT_EQ(log.ops()[4]["op"], "send_recv");
}

TEST(ImportNcclTests, LeavesOutWhatIsNotPredicted) {
  const std::string broadcast = with(sample("nccl-tests/all_reduce_8.txt"), "all_reduce_perf", "broadcast_perf");
  EXPECT_THAT(imported(broadcast).left_out(), ElementsAre(Pair("broadcast_perf, which foretoken does not predict", 4)));
  std::string cpu_time = with(sample("nccl-tests/all_reduce_8.txt"), "    time ", " cputime ");
  EXPECT_THAT(imported(cpu_time).left_out(), ElementsAre(Pair("of CPU time instead of time", 4)));
}

TEST(ImportNcclTests, ReadsJsonAndNotItsEnvironment) {
  const Imported log = imported(sample("nccl-tests-json/all_gather_16.json"));
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0], Op::parse(R"({"op": "all_gather", "dtype": "bf16", "ranks": 16, "nodes": 2, "bytes": 1048576,
                                        "measured_us": 60.0, "in_place_us": 75.0, "slowest_iteration_us": 90.0,
                                        "tool": "nccl-tests", "nccl_version": "2.28.3",
                                        "device": "NVIDIA H100 80GB HBM3", "date": "2026-05-04 10:00:00",
                                        "source": "log#/results/0"})"));
  for (const Op& op : log.ops()) EXPECT_THAT(op.dump(), ::testing::Not(HasSubstr("invented")));
}

// Of 4 GPUs' 12 pairs, reads and writes; of host to device 4.
TEST(ImportNvbandwidth, TellsNvlinkFromPcie) {
  const Imported log = imported(sample("nvbandwidth/hgx4.json"));
  EXPECT_THAT(log.ops(), IsEmpty());
  ASSERT_EQ(log.links().size(), 4U + 12U + 12U);
  EXPECT_EQ(log.links()[0].link, LinkClass::pcie);
  EXPECT_DOUBLE_EQ(log.links()[0].rate->value(), 55.1e9);
  const std::vector<LinkSummary> all = summarise(log.links());
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].test, "device_to_device_memcpy_read_ce");
  EXPECT_DOUBLE_EQ(all[0].median, 380e9);  // pairs (i, j) and (j, i) lie evenly about it
  EXPECT_DOUBLE_EQ(all[2].median, (55.1e9 + 55.2e9) / 2);
  EXPECT_THAT(log.left_out(), UnorderedElementsAre(Pair("of \"device_local_copy\", which is no single link's", 1),
                                                   Pair("of waived tests", 1)));
}

TEST(ImportPerftest, HandsOnWhatANicCarries) {
  const Imported log = imported(sample("perftest/ib_write_bw.txt"));
  ASSERT_EQ(log.links().size(), 3U);
  EXPECT_EQ(log.links()[0].link, LinkClass::infiniband);
  EXPECT_DOUBLE_EQ(log.links()[0].rate->value(), 49e9);  // 392 Gb/s
  EXPECT_EQ(log.links()[0].bytes, Bytes(1 << 20));
  EXPECT_EQ(log.links()[0].origin["source"], "log:13");
  EXPECT_THAT(log.left_out(), ElementsAre(Pair("of bandwidth below 1 MiB, which messages per second bound", 1)));
}

// 90,000 MiB/s both ways together: 45,000 x 2^20 B/s each way.
TEST(ImportPerftest, HalvesWhatIsBothWays) {
  const Imported log = imported(sample("perftest/ib_send_bw_bidirectional.txt"));
  ASSERT_EQ(log.links().size(), 1U);
  EXPECT_DOUBLE_EQ(log.links()[0].rate->value(), 45'000.0 * 1'048'576);
}

TEST(ImportPerftest, SummarisesLatencyByTheSmallestMessage) {
  const Imported log = imported(sample("perftest/ib_write_lat.txt"));
  ASSERT_EQ(log.links().size(), 3U);
  const std::vector<LinkSummary> all = summarise(log.links());
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].is_latency);
  EXPECT_DOUBLE_EQ(all[0].median, 1.75e-6);
}

TEST(ImportPerftest, AsksTheUnitThatItsJsonLacks) {
  const std::string text = sample("perftest-json/ib_write_bw.json");
  EXPECT_EQ(refusal(text), "log: the log does not say unit; add --set unit=Gb/sec (--report_gbits) or unit=MiB/sec");
  EXPECT_DOUBLE_EQ(imported(text, {"unit=Gb/sec"}).links()[0].rate->value(), 49.3e9);
  const Imported latency = imported(sample("perftest-json/ib_send_lat.json"));
  ASSERT_EQ(latency.links().size(), 1U);
  EXPECT_DOUBLE_EQ(latency.links()[0].latency->value(), 1.8e-6);
}

// Means over 4 ranks of 170, 172, 174, 176 and of 350, 354, 358, 362 us.
TEST(ImportDeepEp, TakesTheMeanOverRanks) {
  const Imported log =
      imported(sample("deepep/low_latency.txt"), {"nodes=1", "tokens=128", "hidden=7168", "top_k=8", "experts=256"});
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0], Op::parse(R"({"op": "combine", "dtype": "bf16", "ep": 4, "nodes": 1, "tokens": 128,
                                        "hidden": 7168, "top_k": 8, "experts": 256, "algorithm": "low_latency",
                                        "measured_us": 356.0, "fastest_rank_us": 350.0, "slowest_rank_us": 362.0,
                                        "tool": "DeepEP", "source": "log:9"})"));
  EXPECT_EQ(log.ops()[1]["op"], "dispatch");
  EXPECT_EQ(log.ops()[1]["dtype"], "fp8");
  EXPECT_EQ(log.ops()[1]["measured_us"], 173.0);
}

TEST(ImportDeepEp, AddsNotifyingToTransmitting) {
  const Imported log = imported(sample("deepep/internode.txt"), {"ep=16", "nodes=2", "experts=256"});
  ASSERT_EQ(log.ops().size(), 3U);
  EXPECT_EQ(log.ops()[0], Op::parse(R"({"op": "dispatch", "dtype": "fp8", "ep": 16, "nodes": 2, "tokens": 4096,
                                        "hidden": 7168, "top_k": 8, "experts": 256, "algorithm": "hierarchical",
                                        "sms": 24, "measured_us": 1380.0, "tool": "DeepEP", "source": "log:6"})"));
  EXPECT_EQ(log.ops()[1]["dtype"], "bf16");
  EXPECT_EQ(log.ops()[2]["op"], "combine");
  EXPECT_EQ(log.ops()[2]["measured_us"], 2460.0);  // a comma stands before its times
}

// 300, 304, 308, 312 us of the kernel and 50 of the copy; 606 and 70.
TEST(ImportDeepEp, ReadsTheSecondVersion) {
  const Imported log = imported(sample("deepep/elastic.txt"));
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0]["op"], "combine");
  EXPECT_EQ(log.ops()[0]["measured_us"], 676.0);
  EXPECT_EQ(log.ops()[1]["measured_us"], 356.0);
  EXPECT_EQ(log.ops()[1]["dtype"], "fp8");
  EXPECT_EQ(log.ops()[1]["ep"], 4);
  EXPECT_EQ(log.ops()[1]["nodes"], 2);
  EXPECT_THAT(log.left_out(), ElementsAre(Pair("of expanded, cached and reduced variants", 1)));
}

TEST(ImportOpTable, ReadsGemmsInMilliseconds) {
  const Imported log = imported(sample("op-table/gemm.csv"));
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0], Op::parse(R"({"op": "gemm", "dtype": "bf16", "m": 128, "n": 8192, "k": 4096,
                                        "framework": "vllm", "measured_us": 20.0, "kernel": "torch_flow",
                                        "tool": "aiconfigurator", "tool_version": "0.99.0",
                                        "device": "NVIDIA H100 80GB HBM3", "source": "log:2"})"));
  EXPECT_THAT(log.left_out(), ElementsAre(Pair("of gemm_dtype \"nvfp4\", which foretoken does not model", 1)));
}

// kv heads 0 stand for as many as heads; a decode's context is what was there and the new token.
TEST(ImportOpTable, ReadsAttention) {
  const Imported log = imported(sample("op-table/attention.csv"));
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0]["op"], "attention_prefill");
  EXPECT_EQ(log.ops()[0]["context"], 2048);
  EXPECT_EQ(log.ops()[1]["op"], "attention_decode");
  EXPECT_EQ(log.ops()[1]["context"], 1024);
  EXPECT_EQ(log.ops()[1]["kv_heads"], 32);
  EXPECT_EQ(log.ops()[1]["kv_dtype"], "fp8");
  EXPECT_THAT(log.left_out(), ElementsAre(Pair("with a sliding window", 1)));

  const Imported latent = imported(sample("op-table/mla.csv"));
  ASSERT_EQ(latent.ops().size(), 1U);
  EXPECT_EQ(latent.ops()[0]["op"], "mla_decode");
  EXPECT_EQ(latent.ops()[0]["context"], 2048);
}

TEST(ImportOpTable, ReadsExpertsAndTheirExchange) {
  const Imported moe = imported(sample("op-table/moe.csv"));
  ASSERT_EQ(moe.ops().size(), 1U);
  EXPECT_EQ(moe.ops()[0]["op"], "moe_module");
  EXPECT_EQ(moe.ops()[0]["ep"], 4);
  EXPECT_EQ(moe.ops()[0]["distribution"], "power_law_1.2");
  const Imported low_latency = imported(sample("op-table/deepep_ll.csv"));
  ASSERT_EQ(low_latency.ops().size(), 2U);
  EXPECT_EQ(low_latency.ops()[0]["measured_us"], 150.5);
  EXPECT_EQ(low_latency.ops()[0]["ep"], 16);
  const Imported normal = imported(sample("op-table/deepep_normal.csv"));
  ASSERT_EQ(normal.ops().size(), 2U);
  EXPECT_EQ(normal.ops()[0]["measured_us"], 1340.0);
  EXPECT_EQ(normal.ops()[1]["sms"], 20);
}

// message_size counts elements: of half 2 bytes each.
TEST(ImportOpTable, CountsBytesOfCollectives) {
  const Imported log = imported(sample("op-table/nccl.csv"));
  ASSERT_EQ(log.ops().size(), 2U);
  EXPECT_EQ(log.ops()[0]["bytes"], 2'097'152);
  EXPECT_EQ(log.ops()[0]["measured_us"], 45.0);
  EXPECT_THAT(log.left_out(), UnorderedElementsAre(Pair("of nccl_dtype \"int8\", which foretoken does not model", 1),
                                                   Pair("\"broadcast\", which foretoken does not predict", 1)));
  const Imported custom = imported(sample("op-table/custom_allreduce.csv"));
  ASSERT_EQ(custom.ops().size(), 1U);
  EXPECT_EQ(custom.ops()[0]["bytes"], 131'072);
  EXPECT_EQ(custom.ops()[0]["algorithm"], "direct");
}

TEST(ImportSettings, RefuseWhatNobodyWanted) {
  const std::string log = sample("nccl-tests/all_reduce_8.txt");
  EXPECT_EQ(refusal(log, {"rnaks=8"}), "--set rnaks=8: this log says so itself, or has no such thing; leave it out");
  EXPECT_EQ(refusal(log, {"ranks"}), "--set ranks: is not key=value; write for example --set tokens=128");
  EXPECT_EQ(refusal(log, {"date=a", "date=b"}), "--set date=b: the key is given twice; keep one of them");
}

TEST(WithLinks, ReplacesWhatWasMeasured) {
  Calibration calibration;
  calibration.network.nvlink = {BytesPerSecond(450e9), 0.5, Provenance::assumed, "old"};
  calibration.network.pcie = {BytesPerSecond(64e9), 0.5, Provenance::assumed, "old"};
  calibration.network.infiniband = {BytesPerSecond(50e9), 0.5, Provenance::assumed, "old"};
  ImportSettings none;
  const Imported log = imported(sample("nvbandwidth/hgx4.json"));
  const Calibration changed = with_links(calibration, log.links(), none);
  EXPECT_DOUBLE_EQ(changed.network.nvlink.payload_efficiency, 390.0 / 450);  // writes are faster than reads
  EXPECT_EQ(changed.network.nvlink.provenance, Provenance::measured);
  EXPECT_DOUBLE_EQ(changed.network.pcie.payload_efficiency, 55.15 / 64);
  EXPECT_DOUBLE_EQ(changed.network.infiniband.payload_efficiency, 0.5);
  ASSERT_EQ(changed.sources.size(), 2U);
  EXPECT_EQ(changed.sources[0].id, "imported-nvlink");

  const std::vector<std::string> slow{"nvlink=100 GB/s"};
  ImportSettings settings(slow);
  try {
    with_links(calibration, log.links(), settings);
    ADD_FAILURE() << "390 GB/s of 100 GB/s";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "nvbandwidth: device_to_device_memcpy_write_ce reached 390 GB/s of nvlink's nominal 100 GB/s; "
                 "say what the link's is: --set nvlink='800 Gb/s'");
  }
}

}  // namespace
}  // namespace foretoken::calibrate
