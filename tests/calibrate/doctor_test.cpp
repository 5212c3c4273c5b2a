// A calibration is damaged in a way that real clusters know; the doctor names it first.
#include "calibrate/doctor/doctor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class Doctor : public testing::Test {
 protected:
  DeviceSpec device_ = read_device_spec("topologies/devices/h100-sxm5-80gb.json");
  Calibration healthy_ = read_calibration("topologies/calibrations/h100-sxm.json");

  Diagnosis after(const std::function<void(Calibration&)>& damage) const {
    Calibration damaged = healthy_;
    damage(damaged);
    return diagnose({damaged, device_}, Patient{healthy_, device_});
  }
  std::string first_after(const std::function<void(Calibration&)>& damage) const {
    const Diagnosis diagnosis = after(damage);
    return diagnosis.findings.empty() ? "nothing" : diagnosis.findings.front().what;
  }
};

// Times of all GEMMs with 2048 rows or more, where arithmetic counts, or of all.
void slow_gemms(Calibration& calibration, double log_factor, double log2_m_min,
                const std::string& framework = std::string()) {
  for (GemmFit& fit : calibration.compute.gemm) {
    if (!framework.empty() && fit.framework != framework) continue;
    const auto& m = fit.log_slowdown.axes.front().knots;
    const std::size_t below = fit.log_slowdown.values.size() / m.size();
    for (std::size_t i = 0; i < fit.log_slowdown.values.size(); ++i)
      if (m[i / below] >= log2_m_min) fit.log_slowdown.values[i] += log_factor;
  }
}

void slow_attention(Calibration& calibration, double log_factor) {
  for (AttentionFit& fit : calibration.compute.attention_decode)
    for (double& value : fit.log_slowdown.values) value += log_factor;
}

TEST_F(Doctor, FindsNothingInWhatIsShipped) {
  EXPECT_THAT(after([](Calibration&) {}).findings, IsEmpty());
  for (const auto& [name, spec] : {std::pair("h200-sxm", "h200-sxm-141gb"), std::pair("b200-sxm", "b200-sxm-180gb")}) {
    const Calibration derived = read_calibration(std::string("topologies/calibrations/") + name + ".json");
    const DeviceSpec device = read_device_spec(std::string("topologies/devices/") + spec + ".json");
    EXPECT_THAT(diagnose({derived, device}, Patient{healthy_, device_}).findings, IsEmpty()) << name;
  }
}

TEST_F(Doctor, NamesThrottledClocks) {
  const Diagnosis diagnosis = after([](Calibration& c) { slow_gemms(c, 0.22, 10); });  // 1.25 times as long
  ASSERT_FALSE(diagnosis.findings.empty());
  EXPECT_EQ(diagnosis.findings[0].what, "arithmetic is slow, memory is not");
  EXPECT_THAT(diagnosis.findings[0].likely, HasSubstr("throttled"));
  EXPECT_THAT(diagnosis.findings[0].evidence, HasSubstr("GEMM vllm bf16"));
}

TEST_F(Doctor, NamesSlowMemory) {
  EXPECT_EQ(first_after([](Calibration& c) {
              c.compute.memory.bandwidth = c.compute.memory.bandwidth * 0.8;
              slow_attention(c, 0.22);
              slow_gemms(c, 0.22, 0);
              slow_gemms(c, -0.22, 9);  // from 512 rows on arithmetic hides it
            }),
            "memory is slow, arithmetic is not");
}

TEST_F(Doctor, NamesAGpuThatIsShared) {
  EXPECT_EQ(first_after([](Calibration& c) {
              slow_gemms(c, 0.5, 0);
              slow_attention(c, 0.5);
              c.compute.memory.bandwidth = c.compute.memory.bandwidth * 0.6;
            }),
            "arithmetic and memory are both slow");
}

TEST_F(Doctor, NamesTheFrameworkWhoseKernelsAreUntuned) {
  EXPECT_EQ(first_after([](Calibration& c) { slow_gemms(c, 0.4, 0, "sglang"); }),
            "kernels of sglang are slow, others are not");
}

TEST_F(Doctor, NamesNvlsThatWasOff) {
  EXPECT_EQ(first_after([](Calibration& c) {
              c.network.nvls.latency = c.network.ring.base_latency;
              c.network.nvls.wire_rate = c.network.ring.simple_wire_rate * 0.6;
            }),
            "NVLS is no faster than a ring");
}

TEST_F(Doctor, CountsMissingNvlinks) {
  const Diagnosis diagnosis = after([](Calibration& c) { c.network.nvlink.payload_efficiency *= 16.0 / 18; });
  ASSERT_FALSE(diagnosis.findings.empty());
  EXPECT_EQ(diagnosis.findings[0].what, "NVLink is slow");
  EXPECT_THAT(diagnosis.findings[0].likely, HasSubstr("2 of 18 links' worth is missing"));
}

TEST_F(Doctor, NamesASlowNicAndALateNetwork) {
  const Diagnosis half = after([](Calibration& c) { c.network.infiniband.payload_efficiency *= 0.5; });
  ASSERT_FALSE(half.findings.empty());
  EXPECT_EQ(half.findings[0].what, "NIC is slow");
  EXPECT_THAT(half.findings[0].likely, HasSubstr("another rail"));
  const Diagnosis late = after(
      [](Calibration& c) { c.network.message_across_nodes.latency = c.network.message_across_nodes.latency * 3.0; });
  ASSERT_FALSE(late.findings.empty());
  EXPECT_EQ(late.findings[0].what, "a message between nodes starts late");
  EXPECT_THAT(late.findings[0].likely, HasSubstr("GPUDirect RDMA off"));
}

TEST_F(Doctor, NamesWhatNoHardwareDoes) {
  const Diagnosis diagnosis = after([](Calibration& c) { c.compute.memory.bandwidth = BytesPerSecond(3.6e12); });
  ASSERT_FALSE(diagnosis.findings.empty());
  EXPECT_TRUE(diagnosis.findings[0].impossible);
  EXPECT_EQ(diagnosis.findings[0].what, "element-wise kernels: faster than the hardware");
}

TEST_F(Doctor, NamesFitsWithLargeErrors) {
  EXPECT_EQ(first_after([](Calibration& c) { c.compute.gemm.front().held_out.p90 = 0.4; }),
            "GEMM in bf16 of " + healthy_.compute.gemm.front().framework + " fits badly");
}

TEST_F(Doctor, RefusesHostsAndOtherDatasheets) {
  Calibration host = healthy_;
  host.host.emplace();
  EXPECT_THROW(diagnose({host, device_}, {}), Error);
  const DeviceSpec other = read_device_spec("topologies/devices/h200-sxm-141gb.json");
  EXPECT_THROW(diagnose({healthy_, other}, {}), Error);
}

}  // namespace
}  // namespace foretoken::calibrate
