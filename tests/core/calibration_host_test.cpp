// Calibrations of a computer's CPUs: written and read back, and what is said of malformed ones.
#include "core/calibration_host.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/error.hpp"

namespace foretoken {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Every cost differs from every other; all have few enough digits to be written exactly.
Calibration invented() {
  HostCalibration host;
  host.cores = 2;
  host.source = "here";
  for (auto& curve : host.cache)
    curve = {{Bytes(1024), Seconds(1e-10)}, {Bytes(2048), Seconds(2e-10)}, {Bytes(4096), Seconds(4e-10)}};
  HostCommunication threads;
  threads.communicator = "threads";
  threads.source = "here";
  threads.wake = Seconds(5e-6);
  for (std::size_t load = 0; load < 2; ++load) {
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
      const auto term = static_cast<HostTerm>(t);
      const double cost = 1e-9 * static_cast<double>(1 + t + 100 * load);
      if (kHostTerms[t].family == HostFamily::communication) threads.unit_costs[load][term] = cost;
      else host.unit_costs[load][term] = cost;
    }
  }
  for (HostCalibration::Family& family : host.families) {
    family.shortest = Seconds(1e-6);
    family.longest = Seconds(1e-3);
    family.held_out.median = 0.05;
  }
  host.communication.push_back(threads);
  Calibration calibration;
  calibration.name = "host";
  calibration.device.name = "a CPU";
  calibration.sources.push_back({"here", "this computer", "own measurement", 10, ""});
  calibration.host = host;
  return calibration;
}

TEST(HostCalibration, ReadsBackWhatWasWritten) {
  const Calibration first = invented();
  const std::string text = calibration_text(first);
  const Calibration again = read_calibration(JsonDocument::from_text(text, "again.json"));
  EXPECT_EQ(calibration_text(again), text);
  ASSERT_TRUE(again.host.has_value());
  for (std::size_t load = 0; load < 2; ++load)
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
      const auto term = static_cast<HostTerm>(t);
      EXPECT_DOUBLE_EQ(again.host->unit_costs[load][term], first.host->unit_costs[load][term]) << kHostTerms[t].name;
      EXPECT_DOUBLE_EQ(again.host->communication[0].unit_costs[load][term],
                       first.host->communication[0].unit_costs[load][term]);
    }
  EXPECT_EQ(again.host->cores, 2);
  EXPECT_EQ(again.host->communication[0].wake, Seconds(5e-6));
}

TEST(HostCalibration, ReadsBackANetwork) {
  Calibration first = invented();
  first.host->network = HostNetwork{
      "here", 0.95, 0.02, Seconds(80e-6), Bytes(130), {Seconds(9e-6), Seconds(1e-9)}, {Seconds(12e-6), Seconds(2e-9)}};
  const Calibration again = read_calibration(JsonDocument::from_text(calibration_text(first), "again.json"));
  ASSERT_TRUE(again.host->network.has_value());
  EXPECT_DOUBLE_EQ(again.host->network->payload, 0.95);
  EXPECT_DOUBLE_EQ(again.host->network->latency.value(), 80e-6);
  EXPECT_DOUBLE_EQ(again.host->network->acknowledged, 0.02);
  EXPECT_EQ(again.host->network->overhead, Bytes(130));
  EXPECT_DOUBLE_EQ(again.host->network->send.message.value(), 9e-6);
  EXPECT_DOUBLE_EQ(again.host->network->receive.byte.value(), 2e-9);
}

TEST(HostCalibration, StreamingIsLinearInTheLogarithmOfTheFootprint) {
  const HostCalibration host = *invented().host;
  // Nearest 0.1 ns/B. At 4 KB 0.4 - 0.1; half-way between 1 and 2 KB in log 0.15 - 0.1; constant outside.
  EXPECT_NEAR(host.streaming_beyond_cache(HostLoad::alone, Bytes(4096)).value(), 3e-10, 1e-16);
  EXPECT_NEAR(host.streaming_beyond_cache(HostLoad::alone, Bytes(1448)).value(), 0.5e-10, 1e-13);
  EXPECT_NEAR(host.streaming_beyond_cache(HostLoad::alone, Bytes(1 << 30)).value(), 3e-10, 1e-16);
  EXPECT_EQ(host.streaming_beyond_cache(HostLoad::alone, Bytes(1)).value(), 0);
}

TEST(HostCalibration, NamesTheCommunicatorsThatWereMeasured) {
  const HostCalibration host = *invented().host;
  EXPECT_EQ(host.communicator("").communicator, "threads");
  EXPECT_EQ(host.communicator("threads").communicator, "threads");
  try {
    (void)host.communicator("mpi");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("\"mpi\""), HasSubstr("threads"), HasSubstr("mpirun")));
  }
}

struct BadHostLeaf {
  const char* assignment;
  const char* pointer;
  const char* hint;
};

class MalformedHostCalibration : public testing::TestWithParam<BadHostLeaf> {};

TEST_P(MalformedHostCalibration, IsRefusedWithPlaceAndHint) {
  JsonDocument document = JsonDocument::from_text(calibration_text(invented()), "host.json");
  document.set(GetParam().assignment);
  try {
    (void)read_calibration(document);
    FAIL() << "accepted: " << GetParam().assignment;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(GetParam().pointer), HasSubstr(GetParam().hint)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Leaves, MalformedHostCalibration,
    testing::Values(
        BadHostLeaf{"host.cores=0", "/host/cores", "1"}, BadHostLeaf{"host.cores=two", "/host/cores", "whole number"},
        BadHostLeaf{"host.source=elsewhere", "/host/source", "sources"},
        BadHostLeaf{"host.cache.alone=[]", "/host/cache/alone", "1"},
        BadHostLeaf{"host.cache.crowded.1.footprint=1 KB", "/host/cache/crowded/1/footprint", "must increase"},
        BadHostLeaf{"host.cache.alone.0.per_byte=-1 ns", "/host/cache/alone/0/per_byte", "ns"},
        BadHostLeaf{"host.families.product.alone.rows4=2 s", "/host/families/product/alone/rows4", "out of range"},
        BadHostLeaf{"host.families.product.alone.rows3=1 ns", "/host/families/product/alone", "rows3"},
        BadHostLeaf{"host.families.norm.crowded={}", "/host/families/norm/crowded", "call"},
        BadHostLeaf{"host.families.add.alone={\"call\":\"0 ns\",\"elements\":\"0 ns\",\"memory\":\"0 ns\","
                    "\"cold\":\"0 ns\"}",
                    "/host/families/add", "every term costs 0"},
        BadHostLeaf{"host.communication.0.measured={\"alone\":true}", "/host/communication/0/measured", "crowded"},
        BadHostLeaf{"host.families.gemm={}", "/host/families", "gemm"},
        BadHostLeaf{"host.families.add.longest=1 ns", "/host/families/add/longest", "1 ns"},
        BadHostLeaf{"host.families.copy.held_out.median=much", "/host/families/copy/held_out/median", "number"},
        BadHostLeaf{"host.communication=[]", "/host/communication", "1"},
        BadHostLeaf{"host.communication.0.wake=soon", "/host/communication/0/wake", "soon"},
        BadHostLeaf{"host.communication.0.source=mpi", "/host/communication/0/source", "sources"},
        BadHostLeaf{"compute={}", "/compute", "compute"}, BadHostLeaf{"host=fast", "/host", "object"}));

}  // namespace
}  // namespace foretoken
