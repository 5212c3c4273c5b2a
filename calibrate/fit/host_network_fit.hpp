// What messages between nodes of CPUs take, from times of patterns of them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/calibration_host.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

/// One pattern of messages at one size, all begun at once and measured until the last rank has all of its own.
struct HostNetworkSample {
  std::string pattern;  ///< "one_way", "send_recv", "all_to_all"
  Bytes size;           ///< of a message
  double messages = 0;  ///< over the link that takes longest
  BytesPerSecond rate;  ///< nominal, of that link
  double answered = 0;  ///< messages that it carries acknowledgements of, as a share of `messages`
  Seconds time{};       ///< measured; zero: only the CPU times are
  Seconds send_cpu{};   ///< of "one_way": CPU time of the sender and the receiver of a message, waits left out
  Seconds receive_cpu{};
};

/// What fits best, by ratio:
///
///   time = latency + messages x (size + overhead) x (1 + answered x acknowledged) / (payload x rate)
///   CPU time of an end = message + size x byte
///
/// A payload above 1 can only be a fault of measurement, and is taken as 1.
/// @throws Error{invalid_input} with fewer than four samples with a time, or fewer than two with CPU times
/// Limits: waits for other links than the longest one are not in it, so patterns should load all links evenly.
HostNetwork fit_host_network(std::span<const HostNetworkSample> samples);

/// What the fit makes of a sample.
Seconds host_network_time(const HostNetwork& network, const HostNetworkSample& sample);

}  // namespace foretoken::calibrate
