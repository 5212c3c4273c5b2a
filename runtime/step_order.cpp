#include "runtime/step_order.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/error.hpp"

namespace foretoken::runtime {

StepOrder step_order(const plan::Role& role) {
  std::set<plan::Stream> streams;
  for (const plan::Op& op : role.ops) streams.insert(op.stream);
  StepOrder order;
  order.streams.assign(streams.begin(), streams.end());
  for (std::size_t o = 0; o < role.ops.size(); ++o) {
    const plan::Op& op = role.ops[o];
    QueuedOp queued;
    queued.op = OpId(o);
    const auto place = std::lower_bound(order.streams.begin(), order.streams.end(), op.stream);
    queued.stream = static_cast<std::size_t>(place - order.streams.begin());
    // Of one stream and one step the last op stands for all before it.
    std::map<std::pair<plan::Stream, std::int32_t>, OpId> last;
    for (const plan::Dependency& dependency : op.dependencies) {
      FORETOKEN_CHECK(dependency.distance > 0 || dependency.op < queued.op, op.name + " waits for a later op");
      const plan::Stream stream = role.ops[dependency.op.index()].stream;
      if (stream == op.stream && (dependency.distance > 0 || dependency.op < queued.op)) continue;
      OpId& awaited = last[{stream, dependency.distance}];
      awaited = std::max(awaited, dependency.op);
    }
    for (const auto& [where, awaited] : last) {
      queued.waits.push_back({awaited, where.second});
      order.steps_meet = order.steps_meet || where.second > 0;
    }
    order.ops.push_back(std::move(queued));
  }
  for (const QueuedOp& queued : order.ops)
    for (const plan::Dependency& wait : queued.waits) order.ops[wait.op.index()].awaited = true;
  return order;
}

}  // namespace foretoken::runtime
