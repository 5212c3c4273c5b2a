#include "calibrate/fit/host_network_fit.hpp"

#include <algorithm>

#include "calibrate/fit/log_least_squares.hpp"

namespace foretoken::calibrate {

// First guesses only: what TCP takes for a message and a wait on an ordinary computer, and payload of full frames.
constexpr double kLatency = 100e-6;
constexpr double kPerMessage = 10e-6;
constexpr double kInversePayload = 1.05;

HostNetwork fit_host_network(std::span<const HostNetworkSample> samples) {
  std::vector<double> times;
  for (const HostNetworkSample& sample : samples) times.push_back(sample.time.value());
  const PredictAll predict = [&](std::span<const double> p, std::span<double> predictions) {
    for (std::size_t i = 0; i < samples.size(); ++i)
      predictions[i] = p[0] + samples[i].messages * p[1] + samples[i].nominal.value() * p[2];
  };
  const std::vector<double> p = fit_log_least_squares({kLatency, kPerMessage, kInversePayload}, times, predict);
  HostNetwork network;
  network.latency = Seconds(p[0]);
  network.per_message = Seconds(p[1]);
  network.payload = std::min(1.0, 1 / p[2]);
  return network;
}

Seconds host_network_time(const HostNetwork& network, const HostNetworkSample& sample) {
  return network.latency + network.per_message * sample.messages + sample.nominal / network.payload;
}

}  // namespace foretoken::calibrate
