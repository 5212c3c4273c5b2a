// A role's ops by stream, in the order in which a rank's in-order streams take them up.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/program/program.hpp"

namespace foretoken::runtime {

/// Ops of one stream that run one after the other.
using OpBlock = std::vector<OpId>;

/// Blocks that run in the order in which their first ops become ready: an arrival set, one block per chunk, in order of
/// chunk; or a single block, which runs when its turn comes.
struct BlockSet {
  std::vector<OpBlock> blocks;
};

struct RoleStream {
  plan::Stream stream;
  std::vector<BlockSet> sets;  // in order
};

/// Streams in ascending order.
std::vector<RoleStream> streams_of(const plan::Role& role);

}  // namespace foretoken::runtime
