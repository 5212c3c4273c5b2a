#include "runtime/role_streams.hpp"

#include <cstddef>
#include <map>

namespace foretoken::runtime {

std::vector<RoleStream> streams_of(const plan::Role& role) {
  std::map<plan::Stream, RoleStream> streams;
  for (std::size_t o = 0; o < role.ops.size(); ++o) {
    const plan::Op& op = role.ops[o];
    RoleStream& stream = streams[op.stream];
    stream.stream = op.stream;
    const plan::Op* before = stream.sets.empty() ? nullptr : &role.ops[stream.sets.back().blocks.back().back().index()];
    if (before == nullptr || before->arrival_set != op.arrival_set) stream.sets.emplace_back();
    auto& blocks = stream.sets.back().blocks;
    if (blocks.empty() || (op.arrival_set >= 0 && before->chunk != op.chunk)) blocks.emplace_back();
    blocks.back().push_back(OpId(o));
  }
  std::vector<RoleStream> ordered;
  for (auto& entry : streams) ordered.push_back(std::move(entry.second));
  return ordered;
}

}  // namespace foretoken::runtime
