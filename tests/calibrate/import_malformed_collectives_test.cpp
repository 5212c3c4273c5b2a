// Spoilt logs of nccl-tests and DeepEP: each is refused with a message that names the place, what was found and what
// would be right.
#include <gtest/gtest.h>

#include "tests/calibrate/import_log.hpp"

namespace foretoken::calibrate {
namespace {

// What the samples do not say.
const std::vector<std::string> kLowLatency{"nodes=1", "tokens=128", "hidden=7168", "top_k=8", "experts=256"};
const std::vector<std::string> kInternode{"ep=16", "nodes=2", "experts=256"};

TEST(ImportMalformed, NcclTests) {
  expect_refused({
      {"nccl-tests/all_reduce_8.txt",
       {},
       "# Avg bus bandwidth    : 99.3833 ",
       "",
       "log:24: the table ends without its footer, \"# Avg bus bandwidth\"; was the run killed? repeat it, or keep "
       "what is there with --keep-good"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "    50.00   41.94   73.40      0    49.80   42.11   73.70      0",
       "    50.00   41.94",
       "log:19: 7 columns; the header has 13"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "   41.94   73.40      0",
       "   41.94   73.40      3",
       "log:19: 3 values came out wrong; leave the row out, or repeat the run"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "    50.00   41.94",
       "    50.00   20.97",
       "log:19: algbw is 20.97 GB/s, but 2097152 bytes in 50 us are 41.94; leave the row out, or repeat the run"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "    50.00   41.94",
       "     0.00   41.94",
       "log:19: a time of 0 us; leave the row out, or repeat the run"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "    50.00   41.94",
       "      nan   41.94",
       "log:19: time is \"nan\"; write a number >= 0"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "41.94   73.40",
       "41.94   41.94",
       "log:19: busbw is 41.94 GB/s, but of all_reduce among 8 ranks it would be 73.39; leave the row out, or repeat "
       "the run"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "     2097152       1048576",
       "        2 MB       1048576",
       "log:19: 14 columns; the header has 13"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "     2097152       1048576",
       "-2097152 1048576",
       "log:19: \"-2097152 1048576  bfloat16     sum      -1    50.00   41.94 ...\" is no row of the table; did the "
       "run fail there?"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "     2097152       1048576",
       "99999999999999999 1048576",
       "log:19: size is \"99999999999999999\"; write a whole number of bytes up to 2^50"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "   algbw   busbw #wrong     time",
       "   algbw #wrong     time",
       "log:18: 13 columns; the header has 12"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "#  Rank  3 Group",
       "#  Rank  2 Group",
       "log:9: rank 2 of group 0 appears twice; keep one run after the other"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "#  Rank  7 Group",
       "#  Rank  9 Group",
       "log:16: 8 ranks are listed, up to rank 9; list every rank once"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "#  Rank  7 Group  0",
       "#  Rank  7 Group  1",
       "log:16: 2 groups ran at once; import runs of one group: foretoken predicts a collective that has the network "
       "to itself"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "#  Rank  7 Group  0 Pid  20001 on     node-a",
       "#  Rank  7 Group  0 Pid  20001 on     node-b",
       "log:16: 8 ranks are spread unevenly over 2 hosts: 7 on \"node-a\", 1 on \"node-b\"; import runs with as many "
       "ranks on every host"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "#  Rank  7 Group  0 Pid  20001 on     node-a device",
       "#  Rank  x Group  0 Pid  20001 on     node-a device",
       "log:13: \"Rank  x Group  0 Pid  20001 on     node-a device  7 [0000:db...\" does not say which rank runs "
       "where; write \"# Rank 0 Group 0 Pid 1 on host device 0 [0000:18:00] name\""},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "     4194304       2097152",
       "node-a: Test NCCL failure all_reduce.cu:99 'unhandled cuda error'\n     4194304       2097152",
       "log:20: \"node-a: Test NCCL failure all_reduce.cu:99 'unhandled cuda e...\" is no row of the table; did the "
       "run fail there?"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 99.3833 \n",
       "# nThread 1 nGpus 8 minBytes 1 maxBytes 2\n",
       "log:22: another run begins before the footer of the one above; keep what is there with --keep-good"},
      {"nccl-tests/alltoall_old_mpirun.txt", {}, "", "", "log:10: the log does not say op; add --set op=all_reduce"},
      {"nccl-tests/alltoall_old_mpirun.txt",
       {"op=gather_all"},
       "",
       "",
       "--set op=gather_all: is not known; write all_reduce, all_gather, reduce_scatter, alltoall or sendrecv"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "     2097152       1048576",
       "     2097152",
       "log:19: count is \"bfloat16\"; write a whole number of elements"},
      {"nccl-tests/all_reduce_8.txt",
       {},
       "41.94   73.40      0    49.80",
       "41.94   73.40      0    fast",
       "log:19: time is \"fast\"; write a number >= 0"},
      {"nccl-tests/all_reduce_8.txt",
       {"ranks=8"},
       "",
       "",
       "--set ranks=8: this log says so itself, or has no such thing; leave it out"},
      {"nccl-tests/all_reduce_8.txt",
       {"rnaks=8"},
       "",
       "",
       "--set rnaks=8: this log says so itself, or has no such thing; leave it out"},
  });
}

TEST(ImportMalformed, NcclTestsJson) {
  expect_refused({
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"average_bus_bandwidth\"",
       "\"average_bus_bandwidth",
       "log: not valid JSON at line 219, column 27; check quotes, commas and brackets there (JSON has no NaN, no "
       "comments)"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"time\": 60.0",
       "\"time\": \"nan\"",
       "log#/results/0/out_of_place/time: \"nan\" is not a number; write a number from 0 to 1000000000000000"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"bus_bw\": 16.384",
       "\"bus_bw\": 17.4763",
       "log#/results/0: busbw is 17.4763 GB/s, but of all_gather among 16 ranks it would be 16.38; leave the row out, "
       "or repeat the run"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"nwrong\": 0",
       "\"nwrong\": 7",
       "log#/results/0: 7 values came out wrong; leave the row out, or repeat the run"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"rank\": 3",
       "\"rank\": 4",
       "log#/config/devices/4/rank: this rank appears twice; list it once"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"group\": 0",
       "\"group\": 1",
       "log#/config/devices/0/group: several groups ran at once; import runs of one group: foretoken predicts a "
       "collective that has the network to itself"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"hostname\": \"node-a\"",
       "\"hostname\": \"node-c\"",
       "log#/config/devices: 16 ranks are spread unevenly over 3 hosts: 8 on \"node-b\", 1 on \"node-c\"; import runs "
       "with as many ranks on every host"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"devices\"",
       "\"gadgets\"",
       "log#/config: the key \"devices\" is missing; add it"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"hostname\": \"node-b\"",
       "\"hostname\": \"node-a\"",
       "log#/config/devices: 16 ranks are spread unevenly over 2 hosts: 9 on \"node-a\", 7 on \"node-b\"; import runs "
       "with as many ranks on every host"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"size\": 1048576",
       "\"size\": \"1 MiB\"",
       "log#/results/0/size: \"1 MiB\" is not a number; write a whole number from 0 to 1125899906842624"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"results\": [",
       "\"results\": 7, \"rows\": [",
       "log#/results: 7 is not a list; write a list in square brackets"},
      {"nccl-tests-json/all_gather_16.json",
       {},
       "\"out_of_place\": {",
       "\"out_of_place\": 5, \"was\": {",
       "log#/results/0/out_of_place: 5 is not an object; write an object in braces"},
  });
}

TEST(ImportMalformed, DeepEp) {
  expect_refused({
      {"deepep/low_latency.txt", kLowLatency, "avg_t=172.00 us | Combine bandwidth: 41.00 GB/s",
       "avg_t=172.00 us | Comb[rank 3]",
       "log:6: the line is damaged from \"us | Comb[rank 3], avg_t=354.00 us\" on; a whole one has \"[rank 3] Dispatch "
       "bandwidth: 43.10 GB/s, avg_t=174.20 us | Combine bandwidth: 41.02 GB/s, avg_t=352.96 us\"; did two ranks write "
       "into one line?"},
      {"deepep/low_latency.txt", kLowLatency, "avg_t=172.00 us | Combine", "avg_t=0.00 us | Combine",
       "log:6: a time of 0 us; write one above 0, up to 1e+08"},
      {"deepep/low_latency.txt", kLowLatency, "[rank 0] Dispatch bandwidth", "[rank 1] Dispatch bandwidth",
       "log:9: 3 of 4 ranks report this combine; keep the output of every rank"},
      {"deepep/low_latency.txt",
       {"tokens=128", "hidden=7168", "top_k=8", "experts=256"},
       "",
       "",
       "log:9: the log does not say nodes; add --set nodes=1"},
      {"deepep/low_latency.txt",
       {"nodes=1", "tokens=128", "hidden=7168", "top_k=8", "experts=256", "ranks=4"},
       "",
       "",
       "--set ranks=4: this log says so itself, or has no such thing; leave it out"},
      {"deepep/internode.txt", kInternode, "Best dispatch (FP8): SMs 24", "Best dispatch (FP8): SMs none",
       "log:6: the line is damaged from \"none, NVL chunk 20, RDMA chunk 28: 40 + 1340 us, 58.10 GB/s ...\" on; a "
       "whole one has \"[tuning] Best dispatch (FP8): SMs 24, NVL chunk 20, RDMA chunk 28: 40 + 1340 us\"; did two "
       "ranks write into one line?"},
      {"deepep/internode.txt", kInternode, "40 + 1340 us", "40 + ? us",
       "log:6: the line is damaged from \", NVL chunk 20, RDMA chunk 28: 40 + ? us, 58.10 GB/s (RDMA),...\" on; a "
       "whole one has \"[tuning] Best dispatch (FP8): SMs 24, NVL chunk 20, RDMA chunk 28: 40 + 1340 us\"; did two "
       "ranks write into one line?"},
      {"deepep/internode.txt", {}, "", "", "log:6: the log does not say ep; add --set ep=16"},
      {"deepep/elastic.txt",
       {},
       "> Ranks: 2 x 2",
       "> Ranks: 2",
       "log:2: the line ends too early; a whole one has \"> Ranks: 2 x 8\"; did two ranks write into one line?"},
      {"deepep/elastic.txt",
       {},
       "Tokens: 1024, hidden: 7168",
       "Tokens: 1024",
       "log:4: the line ends too early; a whole one has \"> Tokens: 4096 (max: 4096), hidden: 7168\"; did two ranks "
       "write into one line?"},
      {"deepep/elastic.txt",
       {},
       "* EP:   3/4",
       "* EP:   3/5",
       "log:11: rank 3 of 5, but of 4 above; keep the output of one run"},
      {"deepep/low_latency.txt", kLowLatency, "avg_t=354.00 us", "avg_t=-354.00 us",
       "log:6: a time of -354 us; write one above 0, up to 1e+08"},
      {"deepep/elastic.txt",
       {},
       "61 GB/s (SO), 210 GB/s (SU), 304.000 us",
       "61 GB/s (SO), 210 GB/s (SU), 0.000 us",
       "log:9: a time of 0 us; write one above 0, up to 1e+08"},
      {"deepep/elastic.txt",
       {},
       "bytes | copy: 1400",
       "bytes   @ EP:   1/4",
       "log:8: the line is damaged from \"bytes   @ EP:   1/4 GB/s, 50.000 us\" on; a whole one has \"* EP:   3/16 | "
       "dispatch: 61 GB/s (SO), 210 GB/s (SU), 310.204 us, 65011712 bytes | copy: 1400 GB/s, 55.120 us\"; did two "
       "ranks write into one line?"},
      {"deepep/low_latency.txt",
       {"nodes=1", "tokens=128", "hidden=7168", "top_k=8", "experts=many"},
       "",
       "",
       "--set experts=many: the value is no whole number; write a whole number from 1 to 1048576"},
      {"deepep/low_latency.txt", kLowLatency, "[rank 3] Dispatch bandwidth", "[rank 33] Dispatch bandwidth",
       "log:9: 4 of 34 ranks report this combine; keep the output of every rank"},
      {"deepep/elastic.txt", {}, " > Experts: 8/64\n", "", "log:14: the log does not say top_k; add --set top_k=8"},
  });
}

// However much is cut off the end of a table, no row of it is taken for good: the footer is gone.
TEST(ImportMalformed, TablesThatAreCut) {
  const std::string text = sample("nccl-tests/all_reduce_8.txt");
  const std::size_t table = text.find("#        (B)");
  const std::size_t footer = text.find("# Avg bus bandwidth");
  for (std::size_t end = table; end <= footer; ++end) EXPECT_NE(refusal(text.substr(0, end)), "") << end;
}

// Found by fuzzing: a header that lacks columns after a whole one. Rows below it are of no use, and none is looked up.
TEST(ImportMalformed, NothingIsKeptUnderABrokenHeader) {
  const std::string row =
      "     4194304       2097152  bfloat16     sum      -1    64.00   65.54  114.69      0    63.00   66.58  116.51   "
      "   0\n";
  const std::string text =
      with(sample("nccl-tests/all_reduce_8.txt"), "# Out of bounds", "#       size (B)\n" + row + "# Out of bounds");
  const Imported log = imported(text, {}, true);
  EXPECT_EQ(log.ops().size(), 4U);
  EXPECT_EQ(log.left_out().at("of a run that cannot be used"), 1);
  ASSERT_EQ(log.damage().size(), 1U);
  EXPECT_EQ(log.damage()[0], "log:22: the header has no column \"count\"; keep the header as nccl-tests printed it");
}

TEST(ImportMalformed, KeepGoodLeavesOutWhatIsDamaged) {
  const std::string text = with(sample("nccl-tests/all_reduce_8.txt"), "    50.00   41.94", "    50.00   20.97");
  const Imported log = imported(text, {}, true);
  EXPECT_EQ(log.ops().size(), 3U);
  ASSERT_EQ(log.damage().size(), 1U);
  EXPECT_EQ(log.damage()[0].substr(0, 7), "log:19:");
}

}  // namespace
}  // namespace foretoken::calibrate
