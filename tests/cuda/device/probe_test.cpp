// Probes on a GPU: each kind is timed, and takes a time that a GPU can take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "runtime/cuda/device/probe_messages.hpp"
#include "runtime/cuda/probe_device.hpp"
#include "tests/cuda/device/gpu_test.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): all of this file is about it

// Bytes of a rank's buffer are two to an element; what is gathered or exchanged is split among the ranks.
TEST(ProbeCalls, HaveTheCountsOfTheirBytes) {
  MessageProbe probe;
  probe.ranks = 4;
  probe.bytes = Bytes(64);
  const auto call = [&](MessageKind kind, std::int64_t rank = 0) {
    probe.kind = kind;
    const std::vector<runtime::NcclCall> calls = calls_of(probe, rank);
    EXPECT_EQ(calls.size(), 1U);
    return calls.front();
  };
  EXPECT_EQ(call(MessageKind::all_reduce).count, 32);
  EXPECT_EQ(call(MessageKind::all_gather).count, 8);
  EXPECT_EQ(call(MessageKind::reduce_scatter).count, 8);
  EXPECT_EQ(call(MessageKind::all_to_all).count, 8);
  probe.ranks = 2;
  EXPECT_EQ(call(MessageKind::send_recv, 0).function, runtime::NcclFunction::send);
  EXPECT_EQ(call(MessageKind::send_recv, 0).peer, 1);
  EXPECT_EQ(call(MessageKind::send_recv, 1).function, runtime::NcclFunction::recv);
  EXPECT_EQ(call(MessageKind::send_recv, 1).count, 32);
}

class ProbesOnAGpu : public testing::Test {
 protected:
  void SetUp() override {
    FORETOKEN_NEED_GPU();
    device_ = open_probe_device(alone_, ProbedMessages::every_algorithm);
  }
  // Of one repetition, once all is loaded.
  double seconds(const Probe& probe, std::int64_t repetitions = 20) {
    device_->prepare(probe);
    device_->run(repetitions);
    return device_->run(repetitions).value() / static_cast<double>(repetitions);
  }
  AloneBootstrap alone_;
  std::unique_ptr<ProbeDevice> device_;
};

// No kernel takes less than a microsecond, and none of these as long as 50 ms.
TEST_F(ProbesOnAGpu, TakeAPossibleTime) {
  const std::vector<Probe> probes{CopyProbe{Bytes(1 << 20), true},
                                  GemmProbe{DType::bf16, 64, 1024, 1024},
                                  GemmProbe{DType::fp16, 64, 1024, 1024},
                                  GemmProbe{DType::fp32, 64, 1024, 1024},
                                  ExpertGemmProbe{DType::bf16, 8, 4, 1024, 512},
                                  AttentionProbe{DType::bf16, 4, 1024, 32, 8, 128},
                                  RowwiseProbe{RowwiseKind::norm, DType::bf16, 64, 2048},
                                  RowwiseProbe{RowwiseKind::rope, DType::bf16, 64, 2048},
                                  RowwiseProbe{RowwiseKind::permute, DType::bf16, 64, 2048},
                                  RowwiseProbe{RowwiseKind::activation, DType::bf16, 64, 2048},
                                  LaunchProbe{false, true, 16},
                                  LaunchProbe{true, true, 16}};
  for (const Probe& probe : probes) {
    const double one = seconds(probe);
    EXPECT_GT(one, 0.5e-6) << name_of(probe);
    EXPECT_LT(one, 50e-3) << name_of(probe);
  }
  for (const bool graph : {false, true}) EXPECT_GT(seconds(LaunchProbe{graph, false, 16}), 0.2e-6);
}

// Bytes, not products, decide: sixteen times as many take longer, by a ratio within one run.
TEST_F(ProbesOnAGpu, LargerCopiesTakeLonger) {
  EXPECT_GT(seconds(CopyProbe{Bytes(1 << 28), true}), 4 * seconds(CopyProbe{Bytes(1 << 24), true}));
}

// What stays in the cache is copied faster than what does not.
TEST_F(ProbesOnAGpu, WarmCopiesAreFaster) {
  EXPECT_LT(seconds(CopyProbe{Bytes(1 << 23), false}), seconds(CopyProbe{Bytes(1 << 23), true}));
}

TEST_F(ProbesOnAGpu, SayWhatTheyRanOn) {
  EXPECT_FALSE(device_->machine().gpu.name.empty());
  EXPECT_THAT(device_->machine().blas, testing::HasSubstr("cuBLASLt"));
  EXPECT_EQ(device_->machine().nccl, "");
}

}  // namespace
}  // namespace foretoken::test
