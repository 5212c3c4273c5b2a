#include "calibrate/fit/host_network_fit.hpp"

#include <algorithm>
#include <cmath>

#include "calibrate/fit/log_least_squares.hpp"

namespace foretoken::calibrate {

namespace {

// First guesses only: what TCP takes for a wait on an ordinary computer, a message's headers, payload of full frames,
// an acknowledgement for two of them, and CPU time of a message and a byte.
constexpr double kLatency = 100e-6;
constexpr double kOverhead = 130;
constexpr double kInversePayload = 1.05;
constexpr double kAcknowledged = 0.02;
constexpr double kMessage = 20e-6;
constexpr double kByte = 1e-9;

HostNetworkWork fit_work(std::span<const HostNetworkSample> samples, Seconds HostNetworkSample::*cpu) {
  std::vector<double> times;
  std::vector<double> sizes;
  for (const HostNetworkSample& sample : samples) {
    if (sample.*cpu <= Seconds(0)) continue;
    times.push_back((sample.*cpu).value());
    sizes.push_back(static_cast<double>(sample.size.value()));
  }
  const std::vector<double> p = fit_log_least_squares(
      {kMessage, kByte}, times, [&](std::span<const double> costs, std::span<double> predictions) {
        for (std::size_t i = 0; i < sizes.size(); ++i) predictions[i] = costs[0] + sizes[i] * costs[1];
      });
  return {Seconds(p[0]), Seconds(p[1])};
}

// Without latency and payload's share.
Seconds on_the_link(const HostNetworkSample& sample, double overhead, double acknowledged) {
  const double bytes = sample.messages * (static_cast<double>(sample.size.value()) + overhead);
  return Seconds(bytes / sample.rate.value() * (1 + sample.answered * acknowledged));
}

}  // namespace

HostNetwork fit_host_network(std::span<const HostNetworkSample> all) {
  std::vector<HostNetworkSample> samples;
  std::vector<double> times;
  for (const HostNetworkSample& sample : all) {
    if (sample.time <= Seconds(0)) continue;
    samples.push_back(sample);
    times.push_back(sample.time.value());
  }
  const PredictAll predict = [&](std::span<const double> p, std::span<double> predictions) {
    for (std::size_t i = 0; i < samples.size(); ++i)
      predictions[i] = p[0] + on_the_link(samples[i], p[1], p[3]).value() * p[2];
  };
  const std::vector<double> p =
      fit_log_least_squares({kLatency, kOverhead, kInversePayload, kAcknowledged}, times, predict);
  HostNetwork network;
  network.latency = Seconds(p[0]);
  network.overhead = Bytes(std::llround(p[1]));
  network.payload = std::min(1.0, 1 / p[2]);
  network.acknowledged = p[3];
  network.send = fit_work(all, &HostNetworkSample::send_cpu);
  network.receive = fit_work(all, &HostNetworkSample::receive_cpu);
  return network;
}

Seconds host_network_time(const HostNetwork& network, const HostNetworkSample& sample) {
  const auto overhead = static_cast<double>(network.overhead.value());
  return network.latency + on_the_link(sample, overhead, network.acknowledged) / network.payload;
}

}  // namespace foretoken::calibrate
