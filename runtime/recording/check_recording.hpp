// Proves that what the ranks of a recording would hand to NCCL fits together and comes to its end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/recording/recording.hpp"

namespace foretoken::runtime {

/// What was checked, of all ranks together.
struct RecordingVerdict {
  std::vector<std::string> problems;  // none: it fits together and cannot deadlock
  std::int64_t communicators = 0;
  std::int64_t collectives = 0;  // each with all its members' calls
  std::int64_t messages = 0;     // sends with their receives
  /// It would come to its end even if a GPU carried out one communication at a time, in the order of issue. Where not,
  /// communications on different streams of a rank have to be under way at once, as NCCL's are on a GPU with SMs to
  /// spare.
  bool one_at_a_time = false;
  [[nodiscard]] bool passed() const { return problems.empty(); }
};

/// Proves of every communicator that its members make the same collective calls in the same order with equal function,
/// count, dtype and root, and that the sends from one member to another are, in order, what the other receives; of
/// every rank that it uses a communicator from one stream only; of every op that
/// its stream and the events that it waits for keep it behind all that the plan says it depends on; and of the whole
/// that it cannot deadlock.
///
/// For the last: the end of an op waits for its own start and for the start of the ops that it meets at other ranks
/// (nothing is buffered). The start of an op waits for the end of the op before it on its stream, of the ops whose
/// events it waits for, of the rank's op before it on its communicator, and of what the host waited for before it was
/// issued. There is a deadlock if and only if these waits form a cycle. That a backend lets a step begin only after an
/// earlier one (graphs, a window of steps) adds none: calls meet within a step, and no wait leads to a later one.
///
/// @param plan the recording's, for names and dependencies
RecordingVerdict check_recording(const plan::Plan& plan, const Recording& recording);

}  // namespace foretoken::runtime
