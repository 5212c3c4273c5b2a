// Samples made of known costs give them back.
#include "calibrate/fit/host_network_fit.hpp"

#include <gtest/gtest.h>

namespace foretoken::calibrate {
namespace {

HostNetwork known() {
  return {"", 0.8, 0.03, Seconds(200e-6), Bytes(150), {Seconds(10e-6), Seconds(1e-9)}, {Seconds(20e-6), Seconds(3e-9)}};
}

std::vector<HostNetworkSample> samples_of(const HostNetwork& network) {
  std::vector<HostNetworkSample> samples;
  for (const bool both_ways : {false, true})
    for (const std::int64_t bytes : {100, 10'000, 1'000'000}) {
      HostNetworkSample sample;
      sample.size = Bytes(bytes);
      sample.messages = both_ways ? 12 : 2;
      sample.rate = BytesPerSecond(10e6);
      sample.answered = both_ways ? 1 : 0;
      sample.time = host_network_time(network, sample);
      if (!both_ways) {
        sample.send_cpu = network.send.message + network.send.byte * static_cast<double>(bytes);
        sample.receive_cpu = network.receive.message + network.receive.byte * static_cast<double>(bytes);
      }
      samples.push_back(sample);
    }
  return samples;
}

// 2 messages of 10,000 bytes: 200 us + 20,300 bytes at 8 MB/s = 2,537.5 us; both ways 12 of them and 3 % more.
TEST(HostNetworkFit, AcknowledgementsLoadTheWayBack) {
  const std::vector<HostNetworkSample> samples = samples_of(known());
  EXPECT_NEAR(samples[1].time.value() * 1e6, 200 + 2'537.5, 1e-6);
  EXPECT_NEAR(samples[4].time.value() * 1e6, 200 + 6 * 2'537.5 * 1.03, 1e-6);
}

TEST(HostNetworkFit, FindsWhatSamplesAreMadeOf) {
  const HostNetwork found = fit_host_network(samples_of(known()));
  EXPECT_NEAR(found.payload, 0.8, 1e-3);
  EXPECT_NEAR(found.acknowledged, 0.03, 1e-3);
  EXPECT_NEAR(found.latency.value(), 200e-6, 1e-6);
  EXPECT_NEAR(static_cast<double>(found.overhead.value()), 150, 1);
  EXPECT_NEAR(found.send.message.value(), 10e-6, 1e-7);
  EXPECT_NEAR(found.send.byte.value(), 1e-9, 1e-11);
  EXPECT_NEAR(found.receive.message.value(), 20e-6, 2e-7);
  EXPECT_NEAR(found.receive.byte.value(), 3e-9, 3e-11);
}

// Messages that outrun the nominal rate: the link's rate is what payload gets, and no more.
TEST(HostNetworkFit, NoPayloadIsFasterThanTheLink) {
  std::vector<HostNetworkSample> samples = samples_of(known());
  for (HostNetworkSample& sample : samples) sample.time = sample.size / sample.rate * sample.messages / 1.2;
  EXPECT_EQ(fit_host_network(samples).payload, 1.0);
}

}  // namespace
}  // namespace foretoken::calibrate
