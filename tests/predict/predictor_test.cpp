// Predictions are the models' own, to the last bit.
#include "tools/predict/predictor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "sim/moe_module.hpp"
#include "tests/predict/files.hpp"
#include "tools/collective/simulated.hpp"

namespace foretoken::predict {
namespace {

using test::op_of;
using ::testing::HasSubstr;

class Prediction : public ::testing::Test {
 protected:
  Seconds time(const std::string& line) { return predictor(op_of(line)).time; }
  std::string refusal(const std::string& line) {
    try {
      static_cast<void>(predictor(op_of(line)));
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  Predictor predictor = test::shipped();
  const plan::Topology topology = plan::read_topology(test::kTwoNodes);
  const Calibration calibration = read_calibration(topology.calibration);
  const sim::ComputeCost vllm{calibration.compute, topology.device, "vllm"};
};

TEST_F(Prediction, ComputeIsWhatTheCostModelsSay) {
  EXPECT_EQ(time(R"({"op":"gemm","m":128,"n":8192,"k":4096})"), vllm.gemm(DType::bf16, 128, 8192, 4096).time);
  const std::vector<std::int64_t> rows{3, 0, 50};
  EXPECT_EQ(time(R"({"op":"grouped_gemm","dtype":"fp8","rows":[3,0,50],"n":8192,"k":4096})"),
            vllm.grouped_gemm(DType::fp8, rows, 8192, 4096).time);
  sim::AttentionShape shape{4, 1, 1000, 32, 8, 128, DType::bf16, DType::fp8, sim::Residency::repeated};
  const std::string attention =
      R"({"op":"attention_decode","batch":4,"context":1000,"heads":32,"kv_heads":8,"head_dim":128,"kv_dtype":"fp8")";
  EXPECT_EQ(time(attention + "}"), vllm.attention_decode(shape).time);
  shape.kv = sim::Residency::cold;
  EXPECT_EQ(time(attention + R"(,"kv":"cold"})"), vllm.attention_decode(shape).time);
  const sim::ComputeCost trtllm(calibration.compute, topology.device, "trtllm");
  EXPECT_EQ(time(R"({"op":"gemm","m":128,"n":8192,"k":4096,"framework":"trtllm"})"),
            trtllm.gemm(DType::bf16, 128, 8192, 4096).time);
  EXPECT_EQ(
      time(R"({"op":"moe_module","tokens":64,"hidden":2048,"expert_hidden":768,"experts":128,"top_k":8,"ep":2})"),
      sim::moe_module(vllm, {64, 2048, 768, 128, 8, DType::bf16, true}, sim::expert_rows({}, 64, 128, 8, 2)).time);
}

TEST_F(Prediction, CommunicationIsWhatTheCollectiveCommandSays) {
  const plan::Machine machine = plan::build_machine(topology);
  const sim::NetworkCost cost(calibration.network);
  const auto row = [&](collective::Query query) {
    const sim::Fabric fabric(machine, cost, query.ranks);
    return collective::simulate(query, fabric, {}).rows.at(0);
  };
  collective::Query query;
  query.op = collective::Operation::all_reduce;
  query.dtype = DType::bf16;
  query.ranks = 16;
  query.sizes = {1 << 20};
  EXPECT_EQ(time(R"({"op":"all_reduce","ranks":16,"nodes":2,"bytes":1048576})"), row(query).time);
  query.ranks = 4;
  EXPECT_EQ(time(R"({"op":"all_reduce","ranks":4,"bytes":1048576})"), row(query).time);
  query.op = collective::Operation::all_to_all;
  query.algorithm = "pairwise";
  EXPECT_EQ(time(R"({"op":"all_to_all","ranks":4,"bytes":1048576,"algorithm":"pairwise"})"), row(query).time);
  query.op = collective::Operation::dispatch;
  query.dtype = DType::fp8;
  query.algorithm = "auto";
  query.ranks = 16;
  query.exchange = {2048, 4, 64, 20};
  for (const std::int64_t tokens : {64, 4096}) {  // low-latency kernels, and hierarchical ones
    query.sizes = {tokens};
    EXPECT_EQ(time(R"({"op":"dispatch","ep":16,"hidden":2048,"top_k":4,"experts":64,"tokens":)" +
                   std::to_string(tokens) + "}"),
              row(query).time);
  }
}

TEST_F(Prediction, RanksAreSpreadOverTheNodes) {
  // One rank on each of two nodes: all bytes go over the NIC, in one node none do.
  const std::string message = R"({"op":"send_recv","bytes":67108864,"ranks":2,"nodes":)";
  const NetworkCalibration& network = calibration.network;
  const Bytes bytes(67'108'864);
  EXPECT_NEAR(time(message + "1}").value(),
              (network.message_in_node.latency + bytes / network.message_in_node.rate).value(), 1e-12);
  EXPECT_NEAR(time(message + "2}").value(),
              (network.message_across_nodes.latency + bytes / network.message_across_nodes.rate).value(), 1e-12);
}

TEST_F(Prediction, MoreNodesThanTheTopologyHasAreOfItsKind) {
  EXPECT_GT(time(R"({"op":"all_reduce","ranks":64,"nodes":8,"bytes":1048576})"),
            time(R"({"op":"all_reduce","ranks":16,"nodes":2,"bytes":1048576})"));
  // Any number of cluster sizes may follow one another.
  for (int nodes = 40; nodes > 1; --nodes)
    EXPECT_GT(predictor(op_of(R"({"op":"send_recv","bytes":8,"ranks":)" + std::to_string(nodes) + R"(,"nodes":)" +
                              std::to_string(nodes) + "}"))
                  .time,
              Seconds(0));
  EXPECT_GT(time(R"({"op":"all_reduce","ranks":16,"nodes":2,"bytes":1048576})"), Seconds(0));
}

TEST_F(Prediction, ErrorsAreKnownInsideTheFitAlone) {
  const auto p90 = [&](const std::string& line) { return predictor(op_of(line)).error_p90; };
  const auto& fits = calibration.compute.gemm;
  const auto fit = std::find_if(fits.begin(), fits.end(),
                                [](const GemmFit& one) { return one.framework == "vllm" && one.dtype == DType::bf16; });
  ASSERT_NE(fit, fits.end());
  EXPECT_EQ(p90(R"({"op":"gemm","m":128,"n":8192,"k":4096})"), fit->held_out.p90);
  EXPECT_EQ(p90(R"({"op":"grouped_gemm","rows":[0,128],"n":8192,"k":4096})"), fit->held_out.p90);  // one dense GEMM
  for (const char* unknown :
       {R"({"op":"gemm","m":1000000,"n":8192,"k":4096})", R"({"op":"gemm","dtype":"fp32","m":128,"n":8192,"k":4096})",
        R"({"op":"grouped_gemm","rows":[1,128],"n":8192,"k":4096})",
        R"({"op":"attention_decode","batch":4,"context":1000,"heads":32,"kv_heads":8,"head_dim":64})",
        R"({"op":"mla_decode","batch":4,"context":1000,"heads":32})",
        R"({"op":"all_reduce","ranks":8,"bytes":1048576})"})
    EXPECT_FALSE(p90(unknown).has_value()) << unknown;
}

TEST_F(Prediction, LatentAttentionIsExtrapolated) {
  const auto estimate = predictor(op_of(R"({"op":"mla_decode","batch":32,"context":4096,"heads":128})"));
  EXPECT_EQ(estimate.provenance, Provenance::extrapolated);
  // 32 x 4095 cached tokens of 576 values of 2 bytes at 3.35 TB/s are 45 us; 128 heads x 2 x (576 + 512) FLOPs for each
  // of 32 x 4096 at 989 TFLOP/s 37 us. No kernel is faster than either.
  EXPECT_GT(estimate.time.value(), 45e-6);
  EXPECT_LT(estimate.time.value(), 450e-6);
}

TEST_F(Prediction, SaysWhatTheMachineDoesNotHave) {
  EXPECT_THAT(refusal(R"({"op":"gemm","m":1,"n":2,"k":3,"framework":"other"})"),
              HasSubstr("the calibration has no kernels of \"other\"; choose one of: "));
  EXPECT_THAT(refusal(R"({"op":"gemm","dtype":"int32","m":1,"n":2,"k":3})"), HasSubstr("no peak for int32"));
  EXPECT_THAT(refusal(R"({"op":"all_reduce","ranks":16,"nodes":1,"bytes":8})"),
              HasSubstr("16 ranks do not fit on 1 nodes of 8 GPUs"));
  EXPECT_THAT(refusal(R"({"op":"all_reduce","ranks":16,"bytes":8,"algorithm":"nvls"})"), HasSubstr("span 2 nodes"));
  EXPECT_THAT(refusal(R"({"op":"all_gather","ranks":16,"bytes":8,"algorithm":"tree"})"),
              HasSubstr("carries out all_reduce"));
  EXPECT_THROW(test::shipped("other"), Error);
  EXPECT_THROW(Predictor(std::string(FORETOKEN_SOURCE_DIR) + "/topologies/host.json", "", ""), Error);
}

}  // namespace
}  // namespace foretoken::predict
