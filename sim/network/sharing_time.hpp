// How long it takes to share links among many flows, before anybody waits for it.
#pragma once

#include <string>

namespace foretoken::sim {

/// Longest that is simulated unless the user allows more.
inline constexpr double kSharingSecondsMax = 600;

/// Seconds of one core, roughly, that flows which differ take from the first to the last.
///
///   exactly            3.2 ns flows^2           each ends with a solve for all
///   with an accuracy   80 us flows sqrt(1e-3 / accuracy)
///
/// Measured on one core: exactly, 16,000 flows of as many sizes take 0.8 s; with an accuracy of 0.001, 65,000 that
/// start one by one take 5 s, and the windows get shorter with its square root. Flows that do the same as others
/// (sim/network/symmetry.hpp), or end together, take less.
/// @param accuracy  FlowSetOptions::accuracy
double sharing_seconds(double flows, double accuracy);

/// @param what   will take so long, for the message: "12 exchanges of up to 1e+06 messages"
/// @param lower  what makes it shorter: "lower --ranks"
/// @throws Error{invalid_input} if it is longer than `seconds_max`, naming the options that allow it
void require_time(double seconds, double seconds_max, double accuracy, const std::string& what,
                  const std::string& lower);

}  // namespace foretoken::sim
