#include "calibrate/import/compute_samples.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::filesystem::path file_of(const std::string& name, const std::string& text) {
  const std::filesystem::path path =
      std::filesystem::path(::testing::TempDir()) / ("compute_samples_" + std::to_string(::getpid()) + "_" + name);
  std::ofstream(path) << text;
  return path;
}

std::string message_of(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

constexpr const char* kGemm = "# source: a lab\nframework,dtype,m,n,k,latency_ms\n";
constexpr const char* kAttention = "framework,heads,kv_heads,head_dim,window,kv_dtype,batch,isl,step,latency_ms\n";

TEST(ComputeSamples, ReadsGemmRowsAndLeavesOutBlockScaledOnes) {
  const auto read = read_gemm_samples(
      file_of("gemm.csv", std::string(kGemm) + "a,bfloat16,1,2,3,0.5\na,fp8_block,1,2,3,0.5\nb,fp8,4,5,6,1e-3\n"));
  ASSERT_EQ(read.samples.size(), 2U);
  EXPECT_EQ(read.left_out, 1);
  EXPECT_EQ(read.samples[0].framework, "a");
  EXPECT_EQ(read.samples[0].k, 3);
  EXPECT_DOUBLE_EQ(read.samples[0].time.value(), 0.5e-3);
  EXPECT_EQ(read.samples[1].dtype, DType::fp8);
  EXPECT_DOUBLE_EQ(read.samples[1].time.value(), 1e-6);
}

TEST(ComputeSamples, AContextCountsTheNewTokens) {
  // isl 1 on step 1023 cached ones: 1024.
  const auto decode =
      read_decode_samples(file_of("decode.csv", std::string(kAttention) + "a,8,2,128,0,fp8,16,1,1023,0.1\n"));
  ASSERT_EQ(decode.samples.size(), 1U);
  EXPECT_EQ(decode.samples[0].context, 1024);
  EXPECT_EQ(decode.samples[0].query, 1);
  EXPECT_EQ(decode.samples[0].kv_dtype, DType::fp8);
  // A sliding window and a cached prefix are left out of prefill.
  const auto prefill = read_prefill_samples(file_of(
      "prefill.csv",
      std::string(kAttention) +
          "a,8,2,128,0,bfloat16,2,64,0,0.1\na,8,2,128,512,bfloat16,2,64,0,0.1\na,8,2,128,0,bfloat16,2,64,9,0.1\n"));
  ASSERT_EQ(prefill.samples.size(), 1U);
  EXPECT_EQ(prefill.left_out, 2);
  EXPECT_EQ(prefill.samples[0].context, 64);
}

TEST(ComputeSamples, ReadsCopyBandwidthsAsNumbersAndRanges) {
  // The middle of 2400-2600 is 2500; rows of another kind, unit or reliability do not count.
  const auto read = read_copy_bandwidths(file_of("points.json", R"({"title": "t", "rows": [
    {"kind": "memory", "metric": "local copy", "value": "2400-2600", "unit": "GB/s", "reliability": "A"},
    {"kind": "memory", "metric": "a local copy", "value": 2000, "unit": "GB/s", "reliability": "A"},
    {"kind": "memory", "metric": "local copy", "value": 1, "unit": "GB/s", "reliability": "C"},
    {"kind": "pcie", "metric": "copy", "value": 35, "unit": "GB/s", "reliability": "A"}]})"));
  ASSERT_EQ(read.samples.size(), 2U);
  EXPECT_DOUBLE_EQ(read.samples[0].value(), 2.5e12);
  EXPECT_DOUBLE_EQ(read.samples[1].value(), 2e12);
  EXPECT_EQ(read.left_out, 2);
}

struct BadLine {
  const char* line;
  const char* found;
};

class GemmImportRejects : public ::testing::TestWithParam<BadLine> {};

TEST_P(GemmImportRejects, NamesFileAndLine) {
  // Comment and header are lines 1 and 2, a good row is line 3, the bad one line 4.
  const std::string text = std::string(kGemm) + "a,bfloat16,1,2,3,0.5\n" + GetParam().line + "\n";
  EXPECT_THAT(message_of([&] { (void)read_gemm_samples(file_of("bad_gemm.csv", text)); }),
              AllOf(HasSubstr("bad_gemm.csv:4"), HasSubstr(GetParam().found)));
}

INSTANTIATE_TEST_SUITE_P(
    Lines, GemmImportRejects,
    ::testing::Values(BadLine{"a,bfloat17,1,2,3,0.5", "bfloat17"}, BadLine{"a,bfloat16,0,2,3,0.5", "m"},
                      BadLine{"a,bfloat16,-1,2,3,0.5", "-1"}, BadLine{"a,bfloat16,1,2.5,3,0.5", "2.5"},
                      BadLine{"a,bfloat16,1,2,1000000000000,0.5", "1000000000000"},
                      BadLine{"a,bfloat16,1,2,3,nan", "nan"}, BadLine{"a,bfloat16,1,2,3,inf", "inf"},
                      BadLine{"a,bfloat16,1,2,3,0", "latency_ms"}, BadLine{"a,bfloat16,1,2,3,-0.5", "-0.5"},
                      BadLine{"a,bfloat16,1,2,3,", "latency_ms"}, BadLine{"a,bfloat16,1,2,3,0.5ms", "0.5ms"},
                      BadLine{"a,bfloat16,1,2", "4 fields"}, BadLine{"a,bfloat16,1,2,3,0.5,7", "7 fields"}));

TEST(ComputeSamples, RejectsDamagedAttentionAndMoeTables) {
  EXPECT_THAT(message_of([&] {
                (void)read_decode_samples(file_of("bad.csv", std::string(kAttention) + "a,8,3,128,0,fp8,16,1,7,0.1\n"));
              }),
              AllOf(HasSubstr("bad.csv:2"), HasSubstr("divisor")));
  // Decode has one new token.
  EXPECT_THAT(message_of([&] {
                (void)read_decode_samples(file_of("bad.csv", std::string(kAttention) + "a,8,2,128,0,fp8,16,2,7,0.1\n"));
              }),
              AllOf(HasSubstr("bad.csv:2"), HasSubstr("isl")));
  EXPECT_THAT(message_of([&] { (void)read_moe_samples(file_of("bad.csv", "framework,model\na,b\n")); }),
              AllOf(HasSubstr("bad.csv:1"), HasSubstr("moe_dtype")));
  EXPECT_THAT(message_of([&] { (void)read_gemm_samples("no/such/file.csv"); }), HasSubstr("no/such/file.csv"));
  EXPECT_THAT(message_of([&] {
                (void)read_copy_bandwidths(file_of("bad.json", R"({"rows": [{"kind": "memory", "metric": "local copy",
                  "value": "fast", "unit": "GB/s", "reliability": "A"}]})"));
              }),
              AllOf(HasSubstr("bad.json#/rows/0/value"), HasSubstr("fast")));
}

}  // namespace
}  // namespace foretoken::calibrate
