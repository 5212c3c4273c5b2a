#include "tools/explain/waits.hpp"

#include <algorithm>
#include <map>
#include <string>

namespace foretoken::explain {
namespace {

using Ops = std::vector<std::int32_t>;  // of one stream, in program order

bool of_one_set(const TraceOp& a, const TraceOp& b) { return a.arrival_set >= 0 && a.arrival_set == b.arrival_set; }

/// Positions of a stream's ops at which a block begins that may run before or after others, and where it ends.
struct Block {
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::vector<Block> blocks_of_set(const std::vector<TraceOp>& ops, const Ops& stream, std::size_t begin) {
  const auto at = [&](std::size_t position) -> const TraceOp& {
    return ops[static_cast<std::size_t>(stream[position])];
  };
  std::vector<Block> blocks{{begin, begin + 1}};
  for (std::size_t p = begin + 1; p < stream.size() && of_one_set(at(begin), at(p)); ++p) {
    if (at(p).chunk == at(p - 1).chunk) blocks.back().end = p + 1;
    else blocks.push_back({p, p + 1});
  }
  return blocks;
}

void add_stream(const std::vector<TraceOp>& ops, const Ops& stream,
                std::vector<std::vector<StreamPredecessor>>& before) {
  std::vector<StreamPredecessor> last;  // whatever of it ended last is before the next op
  std::size_t p = 0;
  while (p < stream.size()) {
    const auto op = static_cast<std::size_t>(stream[p]);
    if (ops[op].arrival_set < 0) {
      before[op] = last;
      last = {{stream[p], 0}};
      ++p;
      continue;
    }
    const std::vector<Block> blocks = blocks_of_set(ops, stream, p);
    std::vector<StreamPredecessor> ends;
    for (const Block& block : blocks) ends.push_back({stream[block.end - 1], 0});
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      auto& first = before[static_cast<std::size_t>(stream[blocks[b].begin])];
      first = last;
      for (std::size_t other = 0; other < blocks.size(); ++other)
        if (other != b) first.push_back({ends[other].op, 0, stream[blocks[other].begin], ends[b].op});
      for (std::size_t q = blocks[b].begin + 1; q < blocks[b].end; ++q)
        before[static_cast<std::size_t>(stream[q])] = {{stream[q - 1], 0}};
    }
    last = std::move(ends);
    p = blocks.back().end;
  }
  // What comes first waits for what came last in the step before: so do all blocks, if the stream begins with a set.
  const auto first_end = static_cast<std::size_t>(stream.front());
  const std::vector<Block> first_blocks =
      ops[first_end].arrival_set < 0 ? std::vector<Block>{{0, 1}} : blocks_of_set(ops, stream, 0);
  for (const Block& block : first_blocks)
    for (const StreamPredecessor& end : last)
      before[static_cast<std::size_t>(stream[block.begin])].push_back({end.op, 1});
}

}  // namespace

Waits::Waits(const Trace& trace) : trace_(trace) {
  for (const auto& ops : trace.roles) {
    std::map<std::string, Ops> streams;
    auto& meetings = op_of_meeting_.emplace_back();
    for (std::size_t o = 0; o < ops.size(); ++o) {
      streams[ops[o].stream].push_back(static_cast<std::int32_t>(o));
      if (ops[o].meets) meetings.emplace_back(ops[o].meets->communication, static_cast<std::int32_t>(o));
    }
    std::sort(meetings.begin(), meetings.end());
    auto& before = before_.emplace_back(ops.size());
    for (const auto& [name, stream] : streams) add_stream(ops, stream, before);
  }
}

std::int64_t Waits::anchor(std::int32_t rank, std::int32_t op) const {
  const TraceOp& of = op_of(rank, op);
  if (of.meets->peer_offset == 0) return first_of(rank, *of.meets);
  return of.kind == "recv" ? rank + of.meets->peer_offset : rank;
}

std::optional<std::int32_t> Waits::op_in(std::int32_t rank, std::int32_t communication) const {
  const auto& meetings = op_of_meeting_[static_cast<std::size_t>(trace_.role_of_rank[static_cast<std::size_t>(rank)])];
  const auto found = std::lower_bound(meetings.begin(), meetings.end(), std::pair(communication, std::int32_t{0}));
  if (found == meetings.end() || found->first != communication) return std::nullopt;
  return found->second;
}

}  // namespace foretoken::explain
