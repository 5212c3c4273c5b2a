// A role's ops by stream: the order in which a rank's in-order streams take them up.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "plan/program/program.hpp"

namespace foretoken::sim {

/// Positions [begin, end) of a stream's list of ops.
struct Block {
  std::int32_t begin = 0;
  std::int32_t end = 0;
};

/// Blocks that run in the order in which their first ops become ready; in order of chunk here.
struct ArrivalSet {
  std::int32_t end = 0;  // position after the last block
  std::vector<Block> blocks;
};

struct RoleStream {
  plan::Stream stream;
  std::vector<OpId> ops;                // in program order
  std::vector<std::int32_t> set_begun;  // [position] -> arrival set that begins there, or -1
  std::vector<ArrivalSet> sets;
};

class RoleStreams {
 public:
  explicit RoleStreams(const plan::Role& role);

  [[nodiscard]] const std::vector<RoleStream>& streams() const { return streams_; }       // ascending by stream
  [[nodiscard]] std::int32_t stream_of(OpId op) const { return stream_of_[op.index()]; }  // index into streams()
  /// Streams with an op that depends on this one, in this step or the next; each once.
  [[nodiscard]] std::span<const std::int32_t> woken_by(OpId op) const {
    return std::span(woken_).subspan(static_cast<std::size_t>(woken_begin_[op.index()]),
                                     static_cast<std::size_t>(woken_begin_[op.index() + 1] - woken_begin_[op.index()]));
  }

 private:
  std::vector<RoleStream> streams_;
  std::vector<std::int32_t> stream_of_;
  std::vector<std::int32_t> woken_begin_;
  std::vector<std::int32_t> woken_;
};

}  // namespace foretoken::sim
