// Samples made of known costs give them back.
#include "calibrate/fit/host_network_fit.hpp"

#include <gtest/gtest.h>

namespace foretoken::calibrate {
namespace {

HostNetwork known() { return {"", 0.8, Seconds(200e-6), Seconds(30e-6)}; }

TEST(HostNetworkFit, FindsWhatSamplesAreMadeOf) {
  std::vector<HostNetworkSample> samples;
  for (const double messages : {1.0, 12.0})
    for (const double bytes : {100.0, 10e3, 1e6}) {
      HostNetworkSample sample;
      sample.messages = messages;
      sample.nominal = Seconds(messages * bytes / 10e6);
      sample.time = host_network_time(known(), sample);
      samples.push_back(sample);
    }
  const HostNetwork found = fit_host_network(samples);
  EXPECT_NEAR(found.payload, 0.8, 1e-3);
  EXPECT_NEAR(found.latency.value(), 200e-6, 1e-6);
  EXPECT_NEAR(found.per_message.value(), 30e-6, 1e-6);
}

// Messages that outrun the nominal rate: the link's rate is what payload gets, and no more.
TEST(HostNetworkFit, NoPayloadIsFasterThanTheLink) {
  std::vector<HostNetworkSample> samples;
  for (const double bytes : {1e5, 3e5, 1e6}) {
    HostNetworkSample sample;
    sample.messages = 1;
    sample.nominal = Seconds(bytes / 10e6);
    sample.time = sample.nominal / 1.2;
    samples.push_back(sample);
  }
  EXPECT_EQ(fit_host_network(samples).payload, 1.0);
}

}  // namespace
}  // namespace foretoken::calibrate
