#include "core/calibration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace foretoken {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kShipped = "topologies/calibrations/h100-sxm.json";

std::string message_after(const std::string& assignment) {
  JsonDocument document = JsonDocument::from_file(kShipped);
  document.set(assignment);
  try {
    (void)read_calibration(document);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(Calibration, ShippedFileReadsAndWritesBackTheSameText) {
  const Calibration first = read_calibration(kShipped);
  const std::string text = calibration_text(first);
  EXPECT_EQ(calibration_text(read_calibration(JsonDocument::from_text(text, "again.json"))), text);
  EXPECT_EQ(first.device.name, "h100-sxm5-80gb");
}

TEST(Calibration, ShippedFitsKeepTheirPromiseOnHeldOutGroups) {
  // The promise of the project: within one framework, GEMM bf16 median <= 3 % and p90 <= 9 % (SGLang's, whose times
  // jump more between neighbours: 3.5 and 12.5 %), decode median <= 6
  // %.
  const Calibration shipped = read_calibration(kShipped);
  int gemms = 0;
  for (const GemmFit& fit : shipped.compute.gemm) {
    if (fit.dtype != DType::bf16) continue;
    ++gemms;
    EXPECT_LE(fit.held_out.median, fit.framework == "sglang" ? 0.035 : 0.03) << fit.framework;
    EXPECT_LE(fit.held_out.p90, fit.framework == "sglang" ? 0.125 : 0.09) << fit.framework;
    EXPECT_GE(fit.held_out.groups, 100) << fit.framework;
  }
  EXPECT_EQ(gemms, 3);
  EXPECT_EQ(shipped.compute.attention_decode.size(), 6U);
  for (const AttentionFit& fit : shipped.compute.attention_decode)
    EXPECT_LE(fit.held_out.median, 0.06) << fit.framework;
}

struct BadLeaf {
  const char* assignment;
  const char* pointer;
  const char* hint;
};

class CalibrationRejects : public ::testing::TestWithParam<BadLeaf> {};

TEST_P(CalibrationRejects, NamesThePlaceAndWhatWouldBeRight) {
  EXPECT_THAT(message_after(GetParam().assignment), AllOf(HasSubstr(GetParam().pointer), HasSubstr(GetParam().hint)));
}

INSTANTIATE_TEST_SUITE_P(
    Leaves, CalibrationRejects,
    ::testing::Values(
        BadLeaf{"kind=topology", "#/kind", "calibration"}, BadLeaf{"schema_version=999", "#/schema_version", "newer"},
        BadLeaf{"surprise=1", "#/surprise", ""}, BadLeaf{"device.peak_bf16=989", "#/device/peak_bf16", ""},
        BadLeaf{"sources=[]", "#/sources", ""}, BadLeaf{"sources.1.id=aiconfigurator-gemm", "#/sources/1", "own id"},
        BadLeaf{"compute.memory.source=nobody", "#/compute/memory/source", "sources"},
        BadLeaf{"compute.gemm.0.source=nobody", "#/compute/gemm/0/source", "sources"},
        BadLeaf{"compute.default_framework=unheard", "#/compute/default_framework", "bf16"},
        BadLeaf{"compute.gemm=[]", "#/compute/default_framework", "bf16"},
        BadLeaf{"compute.gemm.0.dtype=bf17", "#/compute/gemm/0/dtype", "bf16"},
        BadLeaf{"compute.gemm.0.dtype=fp8", "#/compute/gemm/1", "fitted twice"},
        BadLeaf{"compute.gemm.0.floor=2.5", "#/compute/gemm/0/floor", "us"},
        BadLeaf{"compute.gemm.0.floor=-1 us", "#/compute/gemm/0/floor", ""},
        BadLeaf{"compute.gemm.0.log_slowdown.values=[1,2,3]", "#/compute/gemm/0/log_slowdown/values", "3840"},
        BadLeaf{"compute.gemm.0.log_slowdown.values.5=NaN", "#/compute/gemm/0/log_slowdown/values/5", "number"},
        BadLeaf{"compute.gemm.0.log_slowdown.values.5=1e300", "#/compute/gemm/0/log_slowdown/values/5", "12"},
        BadLeaf{"compute.gemm.0.log_slowdown.axes.0.knots.3=0", "#/compute/gemm/0/log_slowdown/axes/0/knots",
                "increase"},
        BadLeaf{"compute.gemm.0.log_slowdown.axes.0.knots=[1]", "#/compute/gemm/0/log_slowdown/axes/0/knots", ""},
        BadLeaf{"compute.gemm.0.log_slowdown.axes.0.name=log2_k", "#/compute/gemm/0/log_slowdown/axes/0/name",
                "log2_m"},
        BadLeaf{"compute.gemm.0.log_slowdown.axes=[]", "#/compute/gemm/0/log_slowdown/axes", ""},
        BadLeaf{"compute.gemm.0.held_out.median=-0.1", "#/compute/gemm/0/held_out/median", ""},
        BadLeaf{"compute.attention_decode.0.group_max=1", "#/compute/attention_decode/0/group_max", "4"},
        BadLeaf{"compute.attention_decode.0.head_dims=[]", "#/compute/attention_decode/0/head_dims", ""},
        BadLeaf{"compute.attention_decode.0.head_dims.0=1000000000000", "#/compute/attention_decode/0/head_dims/0", ""},
        BadLeaf{"compute.attention_prefill.0.per_item=5 GB", "#/compute/attention_prefill/0/per_item", ""},
        BadLeaf{"compute.l2.hits_none_above=1 MB", "#/compute/l2/hits_none_above", ""},
        BadLeaf{"compute.memory.bandwidth=0 GB/s", "#/compute/memory/bandwidth", ""},
        BadLeaf{"interference.sms.nvls=-1", "#/interference/sms/nvls", "from 0 to 1024"},
        BadLeaf{"interference.sms.tree=1", "#/interference/sms/tree", ""},
        BadLeaf{"interference.memory_bytes.sent=17", "#/interference/memory_bytes/sent", "16"},
        BadLeaf{"interference.provenance=guessed", "#/interference/provenance", "assumed"},
        BadLeaf{"interference.source=nobody", "#/interference/source", "sources"},
        BadLeaf{"launch.eager.launch=5", "#/launch/eager/launch", "us"},
        BadLeaf{"launch.graph.gap=1 s", "#/launch/graph/gap", "10"},
        BadLeaf{"launch.eager={}", "#/launch/eager", "launch"}, BadLeaf{"launch.source=nobody", "#/launch/source", ""},
        BadLeaf{"network=null", "#/network", "object"}));

// A calibration that says nothing of them has the published settings, which are what the shipped one says, too.
TEST(Calibration, InterferenceAndLaunchesAreOptional) {
  const Calibration shipped = read_calibration(kShipped);
  nlohmann::json without = JsonDocument::from_file(kShipped).json();
  without.erase("interference");
  without.erase("launch");
  Calibration older = read_calibration(JsonDocument::from_text(without.dump(), "older.json"));
  EXPECT_EQ(older.interference.provenance, Provenance::assumed);
  older.interference.source = shipped.interference.source;
  older.launch.source = shipped.launch.source;
  EXPECT_EQ(older.interference, shipped.interference);
  EXPECT_EQ(to_json(older.launch), to_json(shipped.launch));
}

TEST(Calibration, ATruncatedFileIsNamed) {
  const std::string text = calibration_text(read_calibration(kShipped));
  try {
    (void)read_calibration(JsonDocument::from_text(text.substr(0, text.size() / 2), "half.json"));
    FAIL() << "half a file was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr("half.json"));
  }
}

TEST(Calibration, IsForOneDevice) {
  const Calibration shipped = read_calibration(kShipped);
  DeviceSpec device = read_device_spec("topologies/devices/h100-sxm5-80gb.json");
  EXPECT_NO_THROW(require_calibration_for(shipped, device));
  device.name = "h200-sxm-141gb";
  try {
    require_calibration_for(shipped, device);
    FAIL() << "a calibration for another device was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("h100-sxm.json#/device/name"), HasSubstr("h200-sxm-141gb")));
  }
}

TEST(DeviceSpec, ShippedFileHasTheDatasheetNumbersWithSources) {
  const DeviceSpec device = read_device_spec("topologies/devices/h100-sxm5-80gb.json");
  EXPECT_EQ(device.memory, Bytes(80'000'000'000));
  EXPECT_DOUBLE_EQ(device.memory_bandwidth.value(), 3.35e12);
  EXPECT_EQ(device.sms, 132);
  EXPECT_DOUBLE_EQ(device.peak(DType::bf16).value().value(), 989e12);
  EXPECT_FALSE(device.peak(DType::int32).has_value());
  // memory, memory_bandwidth, l2, sms and four peaks.
  EXPECT_EQ(device.sources.size(), 8U);
}

}  // namespace
}  // namespace foretoken
