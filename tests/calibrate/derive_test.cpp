// Calibrations of GPUs that were not measured, derived from one that was.
#include "calibrate/fit/derive.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::calibrate {
namespace {

using sim::ComputeCost;
using sim::NetworkCost;
using testing::HasSubstr;

DeviceSpec device(const std::string& name) { return read_device_spec("topologies/devices/" + name + ".json"); }

class Derive : public testing::Test {
 protected:
  DeviceSpec h100_ = device("h100-sxm5-80gb");
  DeviceSpec h200_ = device("h200-sxm-141gb");
  DeviceSpec b200_ = device("b200-sxm-180gb");
  Calibration measured_ = read_calibration("topologies/calibrations/h100-sxm.json");
  Calibration for_h200_ = derive(measured_, h100_, h200_, {"h200-sxm", Provenance::extrapolated, {}});
};

double seconds(const sim::Estimate& estimate) { return estimate.time.value(); }

std::string text_of(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::string error_of(const Calibration& from, const DeviceSpec& measured, const DeviceSpec& to) {
  try {
    derive(from, measured, to, {"x", Provenance::extrapolated, {}});
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(Derive, WhatIsBoundByMemoryFollowsTheMemory) {
  const ComputeCost h100(measured_.compute, h100_);
  const ComputeCost h200(for_h200_.compute, h200_);
  // 1 GB of weights for 64 rows: 2 m = 128 FLOP per weight element, far below the ridge of 590. The roofline falls by
  // 3.35 / 4.8 = 0.698; what arithmetic there is, in root of squares, keeps it a little above, as does
  // that 256 padded rows take less time than 64 did in the sweep.
  const double gemm =
      seconds(h200.gemm(DType::bf16, 64, 32768, 16384)) / seconds(h100.gemm(DType::bf16, 64, 32768, 16384));
  EXPECT_GT(gemm, 0.698);
  EXPECT_LT(gemm, 0.74);
  sim::AttentionShape decode;
  decode.batch = 256;
  decode.context = 8192;
  decode.heads = 32;
  decode.kv_heads = 8;
  decode.head_dim = 128;
  const double attention = seconds(h200.attention_decode(decode)) / seconds(h100.attention_decode(decode));
  EXPECT_GT(attention, 0.69);
  EXPECT_LT(attention, 0.75);
}

TEST_F(Derive, WhatIsBoundByArithmeticStays) {
  const ComputeCost h100(measured_.compute, h100_);
  const ComputeCost h200(for_h200_.compute, h200_);
  EXPECT_NEAR(seconds(h200.gemm(DType::bf16, 8192, 8192, 8192)) / seconds(h100.gemm(DType::bf16, 8192, 8192, 8192)), 1,
              0.03);
}

TEST_F(Derive, NothingCountsAsBetterThanExtrapolatedAndNoErrorIsClaimed) {
  const ComputeCost h200(for_h200_.compute, h200_);
  const sim::Estimate gemm = h200.gemm(DType::bf16, 64, 8192, 8192);
  EXPECT_EQ(ComputeCost(measured_.compute, h100_).gemm(DType::bf16, 64, 8192, 8192).provenance,
            Provenance::interpolated);
  EXPECT_EQ(gemm.provenance, Provenance::extrapolated);
  EXPECT_FALSE(gemm.error_p90.has_value());
  const NetworkCost network(for_h200_.network);
  EXPECT_EQ(network.link(LinkClass::nvlink).provenance, Provenance::extrapolated);
  EXPECT_EQ(network.message(sim::Span::in_node, Bytes(1 << 20)).provenance, Provenance::extrapolated);
}

TEST_F(Derive, TheSameDatasheetChangesNoTime) {
  const Calibration same = derive(measured_, h100_, h100_, {"again", Provenance::extrapolated, {}});
  for (const std::int64_t m : {1, 64, 4096})
    EXPECT_EQ(seconds(ComputeCost(same.compute, h100_).gemm(DType::bf16, m, 8192, 4096)),
              seconds(ComputeCost(measured_.compute, h100_).gemm(DType::bf16, m, 8192, 4096)));
  EXPECT_EQ(same.compute.memory.bandwidth, measured_.compute.memory.bandwidth);
}

TEST_F(Derive, NvlinkScalesItsRatesAndNoLatency) {
  const Calibration twice = derive(measured_, h100_, b200_, {"b200-sxm", Provenance::assumed, BytesPerSecond(900e9)});
  EXPECT_EQ(twice.network.nvlink.nominal, BytesPerSecond(900e9));
  EXPECT_DOUBLE_EQ(ratio(twice.network.ring.simple_wire_rate, measured_.network.ring.simple_wire_rate), 2);
  EXPECT_DOUBLE_EQ(ratio(twice.network.dispatch.rate_in_node, measured_.network.dispatch.rate_in_node), 2);
  EXPECT_EQ(twice.network.ring.ll_rate, measured_.network.ring.ll_rate);
  EXPECT_EQ(twice.network.dispatch.rate_across_nodes, measured_.network.dispatch.rate_across_nodes);
  EXPECT_EQ(twice.network.nvls.latency, measured_.network.nvls.latency);
}

TEST_F(Derive, TheShippedFilesAreWhatItMakes) {
  EXPECT_EQ(calibration_text(for_h200_), text_of("topologies/calibrations/h200-sxm.json"));
  EXPECT_EQ(calibration_text(derive(measured_, h100_, b200_, {"b200-sxm", Provenance::assumed, BytesPerSecond(900e9)})),
            text_of("topologies/calibrations/b200-sxm.json"));
  EXPECT_EQ(read_calibration("topologies/calibrations/b200-sxm.json").compute.at_best, Provenance::assumed);
}

TEST_F(Derive, RefusesWhatItCannotDeriveFrom) {
  EXPECT_THAT(error_of(for_h200_, h200_, b200_), HasSubstr("is itself derived from h100-sxm; start from h100-sxm"));
  EXPECT_THAT(error_of(measured_, h200_, b200_),
              HasSubstr("\"h100-sxm5-80gb\" was measured, but the datasheet is of \"h200-sxm-141gb\""));
  Calibration host = measured_;
  host.host.emplace();
  EXPECT_THAT(error_of(host, h100_, h200_), HasSubstr("a calibration of a computer's CPUs cannot be derived from"));
}

TEST_F(Derive, AFileCannotClaimThatItsDerivationWasMeasured) {
  nlohmann::json json = nlohmann::json::parse(text_of("topologies/calibrations/h200-sxm.json"));
  json["derived"]["at_best"] = "measured";
  try {
    read_calibration(JsonDocument::from_text(json.dump(), "c.json"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("c.json#/derived/at_best: "));
    EXPECT_THAT(error.what(), HasSubstr("what was not measured here is extrapolated or assumed"));
  }
}

}  // namespace
}  // namespace foretoken::calibrate
