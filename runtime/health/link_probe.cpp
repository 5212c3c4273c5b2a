#include "runtime/health/link_probe.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace foretoken::runtime {
namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

// The shortest round trip, as the first rank sees it.
double shortest_round_trip(BlockingMessages& messages, bool first, RankId peer, int round_trips) {
  double shortest = std::numeric_limits<double>::infinity();
  for (int i = 0; i < round_trips; ++i) {
    if (!first) {
      messages.send_value(peer, messages.receive_value<std::int64_t>(peer));
      continue;
    }
    const auto begin = steady_clock::now();
    messages.send_value<std::int64_t>(peer, i);
    static_cast<void>(messages.receive_value<std::int64_t>(peer));
    shortest = std::min(shortest, seconds_since(begin));
  }
  return shortest;
}

// One direction: the sender says how many bytes come, sends them once the other is ready, and has its answer.
class OneWay {
 public:
  OneWay(BlockingMessages& messages, RankId peer, const LinkProbeOptions& options, std::vector<std::byte>& buffer)
      : messages_(messages), peer_(peer), options_(options), buffer_(buffer) {}

  void receive_all() {
    for (;;) {
      const auto bytes = messages_.receive_value<std::int64_t>(peer_);
      if (bytes == 0) return;
      const std::span<std::byte> room = part(bytes);
      messages_.send_value(peer_, bytes);
      messages_.receive(peer_, room);
      messages_.send_value(peer_, bytes);
    }
  }

  struct Sent {
    Bytes size;
    double seconds = 0;
  };
  Sent send_all() {
    const double enough = std::chrono::duration<double>(options_.message).count();
    std::int64_t bytes = options_.smallest.value();
    double fastest = send(bytes);
    while (fastest < enough && bytes < options_.largest.value()) {
      bytes = std::min(2 * bytes, options_.largest.value());
      fastest = send(bytes);
    }
    for (int i = 1; i < options_.repetitions; ++i) fastest = std::min(fastest, send(bytes));
    messages_.send_value<std::int64_t>(peer_, 0);
    return {Bytes(bytes), fastest};
  }

 private:
  std::span<std::byte> part(std::int64_t bytes) {
    if (buffer_.size() < static_cast<std::size_t>(bytes)) buffer_.resize(static_cast<std::size_t>(bytes));
    return std::span(buffer_).first(static_cast<std::size_t>(bytes));
  }
  double send(std::int64_t bytes) {
    const std::span<const std::byte> data = part(bytes);
    messages_.send_value(peer_, bytes);
    static_cast<void>(messages_.receive_value<std::int64_t>(peer_));
    const auto begin = steady_clock::now();
    messages_.send(peer_, data);
    static_cast<void>(messages_.receive_value<std::int64_t>(peer_));
    return seconds_since(begin);
  }

  BlockingMessages& messages_;
  RankId peer_;
  const LinkProbeOptions& options_;
  std::vector<std::byte>& buffer_;
};

}  // namespace

LinkReading probe_link(BlockingMessages& messages, RankId self, const RankPair& pair, const LinkProbeOptions& options,
                       std::vector<std::byte>& buffer) {
  const bool first = self == pair.first;
  const RankId peer = first ? pair.second : pair.first;
  LinkReading reading;
  reading.pair = pair;
  const double trip = shortest_round_trip(messages, first, peer, options.round_trips);
  reading.latency = Seconds(trip / 2);
  OneWay one_way(messages, peer, options, buffer);
  const auto rate = [&](const OneWay::Sent& sent, Seconds latency) {
    return sent.size / Seconds(std::max(sent.seconds - latency.value(), 1e-9));
  };
  if (!first) {
    one_way.receive_all();
    const OneWay::Sent back = one_way.send_all();
    // Only the first rank knows the latency.
    messages.send_value(peer, back);
    return messages.receive_value<LinkReading>(peer);
  }
  const OneWay::Sent there = one_way.send_all();
  one_way.receive_all();
  const auto back = messages.receive_value<OneWay::Sent>(peer);
  reading.bandwidth = {rate(there, reading.latency), rate(back, reading.latency)};
  reading.message = {there.size, back.size};
  messages.send_value(peer, reading);
  return reading;
}

}  // namespace foretoken::runtime
