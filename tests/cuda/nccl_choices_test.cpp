// What NCCL's log says, line by line, and what that means beside a plan.
#include "runtime/cuda/nccl_choices.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/cuda/nccl_notes.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

NcclChoice choice(const std::string& collective, std::int64_t bytes, const std::string& algorithm,
                  const std::string& protocol, std::int64_t channels, std::int64_t times = 1) {
  return {collective, bytes, algorithm, protocol, channels, times};
}

// One sample of each form that NCCL has had; the prefix is host:process:thread and the device.
TEST(NcclChoices, AreReadInEveryForm) {
  const std::string prefix = "gpu-7:4711:4732 [3] NCCL INFO ";
  const auto read = [&](const std::string& line) { return parse_nccl_choices(prefix + line + "\n"); };
  EXPECT_THAT(read("AllReduce: 8388608 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..23}"),
              ElementsAre(choice("AllReduce", 8388608, "ring", "simple", 24)));
  EXPECT_THAT(read("AllGather: 512 Bytes -> Algo NVLS_TREE proto LL128 channel{Lo..Hi}={4..4} cgaClusterSize 4"),
              ElementsAre(choice("AllGather", 512, "nvls_tree", "ll128", 1)));
  EXPECT_THAT(read("ReduceScatter: 64 Bytes -> Algo 1 proto 0 time 12.500000"),
              ElementsAre(choice("ReduceScatter", 64, "ring", "ll", 0)));
  EXPECT_THAT(read("64 Bytes -> Algo 0 proto 2 time 12.500000"), ElementsAre(choice("", 64, "tree", "simple", 0)));
  EXPECT_THAT(read("AllReduce [Symmetric]: 4096 Bytes -> Kernel AllReduce_AGxLL_R nchannels 8 nthreads 512 nWorks 1"),
              ElementsAre(choice("AllReduce", 4096, "symmetric", "AllReduce_AGxLL_R", 8)));
}

TEST(NcclChoices, AreCountedAndEverythingElseIsPassedOver) {
  const std::string line = "AllReduce: 8 Bytes -> Algo TREE proto LL channel{Lo..Hi}={0..1}";
  EXPECT_THAT(parse_nccl_choices("NCCL version 2.28.9+cuda13.0\n" + line + "\r\n" + line +
                                 "\nAlgorithm | Tree | Ring\n" + "Max NThreads | 512 | 640\n" + line),
              ElementsAre(choice("AllReduce", 8, "tree", "ll", 2, 3)));
  EXPECT_THAT(parse_nccl_choices(""), IsEmpty());
}

// The last line of a process that was killed, cut anywhere, and numbers that are none.
TEST(NcclChoices, OfADamagedLineThereAreNone) {
  const std::string line = "AllReduce: 8388608 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..23}";
  for (std::size_t size = 0; size < line.find(" channel"); ++size) {
    const auto found = parse_nccl_choices(line.substr(0, size));
    for (const NcclChoice& one : found) EXPECT_EQ(one.algorithm, "ring") << size;  // at most the protocol is cut
  }
  EXPECT_THAT(parse_nccl_choices("AllReduce: -8 Bytes -> Algo RING proto LL"), IsEmpty());
  EXPECT_THAT(parse_nccl_choices("AllReduce: 99999999999999999999 Bytes -> Algo RING proto LL"), IsEmpty());
  EXPECT_THAT(parse_nccl_choices("AllReduce: 8 Bytes -> Algo 7 proto 0 time 1"), IsEmpty());
  EXPECT_THAT(parse_nccl_choices("AllReduce: 8 Bytes -> Algo 1 proto 3 time 1"), IsEmpty());
  EXPECT_THAT(parse_nccl_choices("AllReduce: 8 Bytes -> Algo RING proto LL channel{Lo..Hi}={3..1}"), IsEmpty());
  EXPECT_THAT(parse_nccl_choices(" Bytes -> Algo RING proto LL"), IsEmpty());
}

TEST(NcclChoices, GoThroughAMessage) {
  const std::vector<NcclChoice> all{choice("AllReduce", 8, "tree", "ll", 2, 3), choice("", 64, "pat", "simple", 0)};
  EXPECT_EQ(choices_from_bytes(to_bytes(all)), all);
}

TEST(NcclChoices, FindThePlansAlgorithms) {
  EXPECT_EQ(algorithm_of(choice("", 0, "nvls", "", 0)), CollectiveAlgorithm::nvls);
  EXPECT_EQ(algorithm_of(choice("", 0, "nvls_tree", "", 0)), CollectiveAlgorithm::nvls_tree);
  EXPECT_EQ(algorithm_of(choice("", 0, "direct", "", 0)), std::nullopt);
  EXPECT_EQ(algorithm_of(choice("", 0, "pat", "", 0)), std::nullopt);
}

// Two ranks that share attention: 8 sequences x 32 columns are summed up, in fp32: 8 x 32 x 4 = 1024 bytes, by ring.
class ChosenCollectives : public testing::Test {
 protected:
  plan::Plan plan = small_plan({"deployment.attention.tp=2", R"(deployment.collectives={"all_reduce":"ring"})",
                                R"(deployment.experts={"placement":"colocated","exchange":"all_reduce"})"});
};

TEST_F(ChosenCollectives, AreThePlansWithWhatRankZeroSays) {
  const std::vector<NcclChoice> nothing;
  const auto silent = compare_choices(plan, std::vector{nothing, nothing});
  ASSERT_THAT(silent, SizeIs(1));
  EXPECT_EQ(silent[0].kind, plan::OpKind::all_reduce);
  EXPECT_EQ(silent[0].ranks, 2);
  EXPECT_EQ(silent[0].bytes, 1024);
  EXPECT_EQ(silent[0].planned, CollectiveAlgorithm::ring);
  EXPECT_TRUE(silent[0].agrees());
  EXPECT_THAT(settings_of(silent), IsEmpty());

  const std::vector<NcclChoice> tree{choice("AllReduce", 1024, "tree", "ll", 2, 6),
                                     choice("AllReduce", 8, "ring", "ll", 1)};
  const auto told = compare_choices(plan, std::vector{tree, nothing});
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_THAT(told[0].chosen, ElementsAre(choice("AllReduce", 1024, "tree", "ll", 2)));
  EXPECT_FALSE(told[0].agrees());
  EXPECT_FALSE(told[0].ambiguous);
  EXPECT_THAT(settings_of(told), ElementsAre("deployment.collectives.all_reduce=tree"));
  // Rank 1 is first in no communicator: what its log says is of others.
  EXPECT_THAT(compare_choices(plan, std::vector{nothing, tree})[0].chosen, IsEmpty());
}

TEST_F(ChosenCollectives, AreNotSetWhereNcclTookSeveral) {
  const auto told = compare_choices(
      plan, std::vector<std::vector<NcclChoice>>{
                {choice("AllReduce", 1024, "tree", "ll", 2), choice("AllReduce", 1024, "ring", "ll", 2)}, {}});
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_THAT(told[0].chosen, SizeIs(2));
  EXPECT_THAT(settings_of(told), IsEmpty());
}

TEST(NcclNotes, AskNcclAndLeaveNothingBehind) {
  const auto variable = [](const char* name) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): one thread
    return std::string(value == nullptr ? "" : value);
  };
  for (const char* name : {"NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE", "NCCL_TOPO_DUMP_FILE"})
    unsetenv(name);  // NOLINT
  std::string log;
  {
    const NcclNotes notes;
    EXPECT_EQ(notes.not_read(), "");
    EXPECT_EQ(variable("NCCL_DEBUG"), "INFO");
    EXPECT_EQ(variable("NCCL_DEBUG_SUBSYS"), "TUNING");
    log = variable("NCCL_DEBUG_FILE");
    EXPECT_THAT(notes.choices(), IsEmpty());
    std::ofstream(log) << "AllReduce: 8 Bytes -> Algo TREE proto LL channel{Lo..Hi}={0..1}\n";
    std::ofstream(variable("NCCL_TOPO_DUMP_FILE")) << "<system/>";
    EXPECT_THAT(notes.choices(), SizeIs(1));
    EXPECT_EQ(notes.topology(), "<system/>");
  }
  EXPECT_FALSE(std::ifstream(log).good());
  EXPECT_EQ(variable("NCCL_DEBUG"), "");
  EXPECT_EQ(variable("NCCL_TOPO_DUMP_FILE"), "");
  setenv("NCCL_DEBUG", "WARN", 1);  // NOLINT(concurrency-mt-unsafe)
  {
    const NcclNotes notes;
    EXPECT_THAT(notes.not_read(), testing::HasSubstr("NCCL_DEBUG is set"));
    EXPECT_EQ(variable("NCCL_DEBUG"), "WARN");
    EXPECT_EQ(variable("NCCL_DEBUG_FILE"), "");
  }
  EXPECT_EQ(variable("NCCL_DEBUG"), "WARN");
  unsetenv("NCCL_DEBUG");  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace
}  // namespace foretoken::test
