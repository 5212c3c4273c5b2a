#include "tools/collective/query.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/error.hpp"

namespace foretoken::collective {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(CollectiveSizes, GrowByAFactorOrAreListed) {
  EXPECT_THAT(parse_sizes("--sizes", "8:1K:4"), ElementsAre(8, 32, 128, 512));
  EXPECT_THAT(parse_sizes("--sizes", "1M:4M"), ElementsAre(1 << 20, 2 << 20, 4 << 20));
  EXPECT_THAT(parse_sizes("--sizes", "3,1G"), ElementsAre(3, 1 << 30));
  EXPECT_THAT(parse_sizes("--sizes", "7:7:1K"), ElementsAre(7));
  EXPECT_EQ(parse_sizes("--sizes", "8:8G:2").size(), 31U);
}

// The size after the last one may be beyond 64 bits: 2^20 x 2^50, and 2^50 x 2^50.
TEST(CollectiveSizes, EndWhereTheNextOneWouldOverflow) {
  EXPECT_THAT(parse_sizes("--sizes", "1M:8G:1048576G"), ElementsAre(1 << 20));
  EXPECT_THAT(parse_sizes("--sizes", "1:1048576G:1048576G"), ElementsAre(1, std::int64_t{1} << 50));
}

TEST(CollectiveSizes, AreAtMostAThousand) {
  std::string list = "1";
  for (int i = 1; i < 1000; ++i) list += ",1";
  EXPECT_EQ(parse_sizes("--sizes", list).size(), 1000U);
  EXPECT_THAT(message_of([&] { (void)parse_sizes("--sizes", list + ",1"); }), HasSubstr("more than 1000 sizes"));
}

TEST(CollectiveSizes, AnythingElseIsRefused) {
  for (const char* text : {"", ":", "8:", "8:4:2", "8:16:1", "8:16:0", "8::2", "1:2:3:4", "-8", "8.5", "8 B", "8MB",
                           "x", "0", "2048G:1", "9999999G", "1,,2", "99999999999999999999"})
    EXPECT_THAT(message_of([&] { (void)parse_sizes("--sizes", text); }), HasSubstr("--sizes")) << text;
}

Query query_of(Operation op, std::int32_t ranks) {
  Query query;
  query.op = op;
  query.ranks = ranks;
  return query;
}

// 4-byte elements: all_reduce takes whole ones, the others as many for every rank, and at least one each.
TEST(CollectiveSizes, AreWholeElements) {
  EXPECT_EQ(whole_size(query_of(Operation::all_reduce, 3), Bytes(11)), Bytes(8));
  EXPECT_EQ(whole_size(query_of(Operation::all_gather, 3), Bytes(35)), Bytes(24));
  EXPECT_EQ(whole_size(query_of(Operation::all_to_all, 3), Bytes(1)), Bytes(12));
  EXPECT_EQ(whole_size(query_of(Operation::send_recv, 3), Bytes(1)), Bytes(4));
}

TEST(CollectiveAlgorithms, AreTakenAsNcclWouldOrRefused) {
  Query query = query_of(Operation::all_reduce, 16);
  EXPECT_EQ(collective_algorithm(query, 2, Bytes(1 << 10), true), CollectiveAlgorithm::tree);
  EXPECT_EQ(collective_algorithm(query, 2, Bytes(1 << 30), true), CollectiveAlgorithm::nvls_tree);
  query.dtype = DType::fp8;  // NVLS does not add up bytes
  EXPECT_EQ(collective_algorithm(query, 2, Bytes(1 << 30), true), CollectiveAlgorithm::tree);
  query.algorithm = "nvls";
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 2, Bytes(8), true); }), HasSubstr("span 2 nodes"));
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 1, Bytes(8), false); }), HasSubstr("cannot add up"));
  query.algorithm = "nvls_tree";
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 1, Bytes(8), true); }), HasSubstr("within one node"));
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 16, Bytes(8), true); }),
              HasSubstr("one of the ranks alone"));
  query.algorithm = "pairwise";
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 1, Bytes(8), true); }),
              HasSubstr("auto, ring, direct, nvls, tree, nvls_tree"));
  query = query_of(Operation::all_gather, 16);
  query.algorithm = "tree";
  EXPECT_THAT(message_of([&] { (void)collective_algorithm(query, 2, Bytes(8), true); }),
              HasSubstr("all_reduce, not all_gather"));
  EXPECT_EQ(exchange_algorithm(query_of(Operation::dispatch, 8), 128), ExchangeAlgorithm::low_latency);
  EXPECT_EQ(exchange_algorithm(query_of(Operation::dispatch, 8), 129), ExchangeAlgorithm::hierarchical);
}

class PatternFile : public ::testing::Test {
 protected:
  std::string read(const std::string& text, std::int32_t ranks) {
    std::ofstream(file) << text;
    return message_of([&] { weights = read_pattern(file, ranks); });
  }
  void TearDown() override { std::filesystem::remove(file); }
  std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("foretoken_pattern_" + std::to_string(::getpid()));
  std::vector<double> weights;
};

TEST_F(PatternFile, IsAMatrixOfWeights) {
  EXPECT_EQ(read("# from, to\n0 1.5\n2e3,0 # rank 1\n\n", 2), "accepted");
  EXPECT_THAT(weights, ElementsAre(0, 1.5, 2000, 0));
}

TEST_F(PatternFile, OtherFilesAreRefusedByLine) {
  EXPECT_THAT(read("0 1\n2 x\n", 2), HasSubstr(":2: "));
  EXPECT_THAT(read("0 1\n2 -1\n", 2), HasSubstr("\"-1\""));
  EXPECT_THAT(read("0 nan\n2 1\n", 2), HasSubstr("\"nan\""));
  EXPECT_THAT(read("0 1 2\n", 2), HasSubstr("3 numbers"));
  EXPECT_THAT(read("0 1\n", 2), HasSubstr("1 lines"));
  EXPECT_THAT(read("0 1\n1 0\n1 1\n", 2), HasSubstr("a row 3"));
  EXPECT_THAT(read("0 0\n0 0\n", 2), HasSubstr("nobody sends"));
  EXPECT_THAT(message_of([] { (void)read_pattern("no/such/file", 2); }), HasSubstr("cannot be read"));
  for (const char* endless : {"/dev/zero", "/tmp"})
    EXPECT_THAT(message_of([&] { (void)read_pattern(endless, 2); }), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace foretoken::collective
