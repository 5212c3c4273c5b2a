#include "calibrate/import/network_samples.hpp"

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

class NetworkSamples : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::path(::testing::TempDir()) / ("network_samples_" + std::to_string(::getpid()) + "_" +
                                                       ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file(const std::string& name, const std::string& text) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path) << text;
    return path;
  }

  static std::string message_of(const std::function<void()>& read) {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return error.what();
    }
    return "accepted";
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(NetworkSamples, NcclTable) {
  const std::string header = "system,nccl,op,dtype,num_gpus,elements,bytes,latency_ms\n";
  const auto samples = read_nccl_table(file("n.csv", header + "h,2,all_gather,half,4,256,512,0.0055\n"));
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].op, CollectiveOp::all_gather);
  EXPECT_EQ(samples[0].group, "half");
  EXPECT_EQ(samples[0].ranks, 4);
  EXPECT_EQ(samples[0].nodes, 1);
  EXPECT_EQ(samples[0].bytes, Bytes(512));
  EXPECT_DOUBLE_EQ(samples[0].time.value(), 5.5e-6);

  for (const char* bad : {"h,2,broadcast,half,4,256,512,0.0055", "h,2,all_gather,half,0,256,512,0.0055",
                          "h,2,all_gather,half,4,256,-1,0.0055", "h,2,all_gather,half,4,256,512,0",
                          "h,2,all_gather,half,4,256,512", "h,2,all_gather,half,4,256,512,nan"}) {
    const auto path = file("bad.csv", header + bad + "\n");
    EXPECT_THAT(message_of([&] { (void)read_nccl_table(path); }), HasSubstr("bad.csv:2")) << bad;
  }
}

TEST_F(NetworkSamples, NcclRunsLeaveOutOtherOperationsAndBadRows) {
  const auto row = [](const std::string& collective, const std::string& size, const std::string& reliability) {
    return R"({"run":"r","collective":")" + collective + R"(","gpus":16,"nodes":2,"size_B":)" + size +
           R"(,"oop_time_us":100.5,"extra":1,"reliability":")" + reliability + "\"}";
  };
  const auto text = [](const std::string& rows) { return R"({"title":"t","rows":[)" + rows + "]}"; };
  const auto samples =
      read_nccl_runs(file("r.json", text(row("all_reduce", "1048576", "A") + "," + row("ib_write_bw", "1", "A") + "," +
                                         row("all_reduce", "null", "A") + "," + row("all_reduce", "2", "X"))));
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].nodes, 2);
  EXPECT_DOUBLE_EQ(samples[0].time.value(), 100.5e-6);

  const auto bad = file("bad.json", text(row("all_reduce", "\"1 MiB\"", "A")));
  EXPECT_THAT(message_of([&] { (void)read_nccl_runs(bad); }),
              AllOf(HasSubstr("bad.json"), HasSubstr("/rows/0/size_B")));
  const auto cut = file("cut.json", R"({"title":"t","rows":[)");
  EXPECT_THAT(message_of([&] { (void)read_nccl_runs(cut); }), HasSubstr("cut.json"));
}

TEST_F(NetworkSamples, CustomAllReduce) {
  const auto samples = read_custom_all_reduce(
      file("c.csv", "framework,mode,kernel,num_gpus,elements,bytes,latency_ms\nv,g,K,8,1,2,0.004\n"));
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].group, "K");
  EXPECT_EQ(samples[0].op, CollectiveOp::all_reduce);
}

TEST_F(NetworkSamples, DeepEp) {
  const std::string header =
      "node_num,hidden_size,num_token,num_topk,num_experts,combine_avg_t_us,combine_bandwidth_gbps,dispatch_avg_t_us,"
      "dispatch_bandwidth_gbps\n";
  const auto samples = read_deepep_low_latency(file("d.csv", header + "2,7168,128,8,256,186.17,1,102.1,1\n"), "lib");
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].ranks, 16);
  EXPECT_EQ(samples[0].experts, 256);
  EXPECT_DOUBLE_EQ(samples[0].dispatch.value(), 102.1e-6);
  EXPECT_DOUBLE_EQ(samples[0].combine.value(), 186.17e-6);

  const auto readme = read_deepep_rows(file(
      "e.json",
      R"({"title":"t","rows":[{"library":"L","mode":"low_latency","ep":32,"nodes":4,"hidden":7168,"tokens_per_rank":128,
      "topk":8,"experts":256,"op":"dispatch","time_us":155,"reliability":"A"},
      {"library":"L","mode":"normal","op":"dispatch","time_us":null,"reliability":"A"}]})"));
  ASSERT_EQ(readme.size(), 1U);
  EXPECT_EQ(readme[0].nodes, 4);
  EXPECT_DOUBLE_EQ(readme[0].dispatch.value(), 155e-6);
  EXPECT_EQ(readme[0].combine, Seconds(0.0));
}

TEST_F(NetworkSamples, DeepEpNormalNotifiesAndTransmits) {
  const std::string header =
      "node_num,hidden_size,num_token,num_topk,num_experts,dispatch_sms,dispatch_transmit_us,dispatch_notify_us,"
      "combine_sms,combine_transmit_us,combine_notify_us\n";
  const auto samples = read_deepep_normal(file("n.csv", header + "2,7168,128,8,256,20,64.5,30.5,20,150,33\n"), "lib");
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].ranks, 16);
  EXPECT_EQ(samples[0].sms, 20);
  EXPECT_DOUBLE_EQ(samples[0].dispatch.value(), 95e-6);
  EXPECT_DOUBLE_EQ(samples[0].combine.value(), 183e-6);
  for (const char* bad : {"2,7168,128,8,256,20,64.5,30.5,24,150,33", "2,7168,128,8,256,20,0,30.5,20,150,33",
                          "2,7168,128,8,256,20,64.5,-1,20,150,33"}) {
    const auto path = file("bad.csv", header + bad + "\n");
    EXPECT_THAT(message_of([&] { (void)read_deepep_normal(path, "lib"); }), HasSubstr("bad.csv:2")) << bad;
  }
}

TEST_F(NetworkSamples, RowBytesCountScalesAndHeader) {
  // 7168 FP8 values + 7168/128 = 56 scales of 4 bytes + 16: 7,408. BF16: 2 x 7168 = 14,336.
  EXPECT_EQ(dispatch_row_bytes(7168), Bytes(7408));
  EXPECT_EQ(combine_row_bytes(7168), Bytes(14336));
}

TEST_F(NetworkSamples, VidurTellsNodesByDevicesPerNode) {
  const std::string header = "time_stats.send_recv.median,num_workers,size,devices_per_node\n";
  const auto samples = read_vidur_send_recv(file("v.csv", header + "0.017,2,2048,1\n0.005,2,2048,2\n"));
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_TRUE(samples[0].across_nodes);
  EXPECT_FALSE(samples[1].across_nodes);
  EXPECT_DOUBLE_EQ(samples[0].time.value(), 17e-6);
  const auto bad = file("bad.csv", header + "0.017,3,2048,1\n");
  EXPECT_THAT(message_of([&] { (void)read_vidur_send_recv(bad); }), HasSubstr("bad.csv:2"));
}

TEST_F(NetworkSamples, PointTakesNumbersAndTypicalValues) {
  const auto path = file("p.json", R"json({"title":"t","rows":[
      {"metric":"a","gpu":"G","value":392,"reliability":"A"},
      {"metric":"b","gpu":"G","value":"371-377 (typ. 376)","reliability":"A"},
      {"metric":"c","gpu":"G","value":"about 3","reliability":"A"},
      {"metric":"d","gpu":"G","value":1,"reliability":"A"},
      {"metric":"d","gpu":"G","value":2,"reliability":"A"}]
})json");
  EXPECT_DOUBLE_EQ(read_point(path, "a", "G"), 392.0);
  EXPECT_DOUBLE_EQ(read_point(path, "b", "G"), 376.0);
  EXPECT_THAT(message_of([&] { (void)read_point(path, "c", "G"); }), HasSubstr("/rows/2/value"));
  EXPECT_THAT(message_of([&] { (void)read_point(path, "d", "G"); }), HasSubstr("/rows/4"));
  EXPECT_THAT(message_of([&] { (void)read_point(path, "a", "other"); }), HasSubstr("no \"a\" of other"));
}

}  // namespace
}  // namespace foretoken::calibrate
