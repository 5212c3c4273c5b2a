#include "sim/engine/role_streams.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.hpp"

namespace foretoken::sim {
namespace {

void find_arrival_sets(const plan::Role& role, RoleStream& stream) {
  const auto op_at = [&](std::size_t position) -> const plan::Op& { return role.ops[stream.ops[position].index()]; };
  stream.set_begun.assign(stream.ops.size(), -1);
  for (std::size_t begin = 0; begin < stream.ops.size();) {
    const std::int32_t name = op_at(begin).arrival_set;
    std::size_t end = begin + 1;
    if (name < 0) {
      begin = end;
      continue;
    }
    ArrivalSet set;
    std::vector<std::int16_t> chunks;
    for (std::size_t position = begin; position < stream.ops.size() && op_at(position).arrival_set == name;
         ++position) {
      if (position == begin || op_at(position).chunk != op_at(position - 1).chunk) {
        set.blocks.push_back({static_cast<std::int32_t>(position), static_cast<std::int32_t>(position)});
        chunks.push_back(op_at(position).chunk);
      }
      ++set.blocks.back().end;
      end = position + 1;
    }
    FORETOKEN_CHECK(std::adjacent_find(chunks.begin(), chunks.end(), std::greater_equal<>()) == chunks.end(),
                    role.name + ": blocks of an arrival set must be one per chunk, in order of chunk");
    set.end = static_cast<std::int32_t>(end);
    stream.set_begun[begin] = static_cast<std::int32_t>(stream.sets.size());
    stream.sets.push_back(std::move(set));
    begin = end;
  }
}

}  // namespace

RoleStreams::RoleStreams(const plan::Role& role) : stream_of_(role.ops.size()) {
  std::map<plan::Stream, std::vector<OpId>> by_stream;
  for (std::size_t o = 0; o < role.ops.size(); ++o) by_stream[role.ops[o].stream].push_back(OpId(o));
  for (auto& [stream, ops] : by_stream) {
    for (const OpId op : ops) stream_of_[op.index()] = static_cast<std::int32_t>(streams_.size());
    streams_.push_back({stream, std::move(ops), {}, {}});
    find_arrival_sets(role, streams_.back());
  }

  std::vector<std::set<std::int32_t>> woken(role.ops.size());
  for (std::size_t o = 0; o < role.ops.size(); ++o) {
    for (const plan::Dependency& dependency : role.ops[o].dependencies) {
      woken[dependency.op.index()].insert(stream_of_[o]);
    }
  }
  woken_begin_.push_back(0);
  for (const auto& streams : woken) {
    woken_.insert(woken_.end(), streams.begin(), streams.end());
    woken_begin_.push_back(static_cast<std::int32_t>(woken_.size()));
  }
}

}  // namespace foretoken::sim
