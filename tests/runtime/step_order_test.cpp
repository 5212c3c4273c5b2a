// The order in which a step goes onto a device's streams keeps all that the plan asks for.
#include "runtime/step_order.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::QueuedOp;
using runtime::step_order;
using runtime::StepOrder;

// For every op, all that is known to have ended when it starts: what precedes it on its stream, and what the ops that
// it waits for had known. Steps 0 and 1, as one list.
void expect_dependencies_kept(const plan::Role& role) {
  const StepOrder order = step_order(role);
  ASSERT_EQ(order.ops.size(), role.ops.size());
  using Execution = std::pair<std::int64_t, OpId>;
  std::map<Execution, std::set<Execution>> known;
  std::map<std::size_t, Execution> last_of_stream;
  for (std::int64_t step = 0; step < 2; ++step) {
    for (const QueuedOp& queued : order.ops) {
      const plan::Op& op = role.ops[queued.op.index()];
      EXPECT_EQ(order.streams[queued.stream], op.stream);
      std::set<Execution> before;
      const auto add = [&](const Execution& execution) {
        ASSERT_TRUE(known.contains(execution)) << op.name << " waits for what is queued later";
        before.insert(execution);
        before.insert(known[execution].begin(), known[execution].end());
      };
      if (const auto last = last_of_stream.find(queued.stream); last != last_of_stream.end()) add(last->second);
      for (const plan::Dependency& wait : queued.waits) {
        EXPECT_TRUE(order.ops[wait.op.index()].awaited);
        EXPECT_NE(role.ops[wait.op.index()].stream, op.stream);
        if (step >= wait.distance) add({step - wait.distance, wait.op});
      }
      for (const plan::Dependency& dependency : op.dependencies) {
        if (step < dependency.distance) continue;
        EXPECT_TRUE(before.contains({step - dependency.distance, dependency.op}))
            << op.name << " in step " << step << " may start before " << role.ops[dependency.op.index()].name
            << " has ended";
      }
      known[{step, queued.op}] = before;
      last_of_stream[queued.stream] = {step, queued.op};
    }
  }
}

TEST(StepOrder, KeepsEveryDependencyOfEveryDeployment) {
  for (const std::string& name : laptop_scenarios()) {
    if (name == "baseline-r64-tp8-pp2-dp4" || name == "large-ep-r64") continue;  // the same roles as their small ones
    SCOPED_TRACE(name);
    for (const plan::Role& role : laptop_plan(name).program.roles) expect_dependencies_kept(role);
  }
}

TEST(StepOrder, OneStreamNeedsNoEvents) {
  const StepOrder order = step_order(small_plan().program.roles.front());
  EXPECT_EQ(order.streams.size(), 1u);
  EXPECT_FALSE(order.steps_meet);
  for (const QueuedOp& queued : order.ops) {
    EXPECT_TRUE(queued.waits.empty());
    EXPECT_FALSE(queued.awaited);
  }
}

TEST(StepOrder, WaitsOnceForTheLastOfSeveralOnAStream) {
  // Two ops on the communication stream, then one on the compute stream that names both: the second stands for both.
  plan::Role role;
  role.ops.resize(3);
  role.ops[0].stream = role.ops[1].stream = plan::kCommunication;
  role.ops[2].dependencies = {{OpId(0), 0}, {OpId(1), 0}};
  const StepOrder order = step_order(role);
  ASSERT_EQ(order.ops[2].waits.size(), 1u);
  EXPECT_EQ(order.ops[2].waits.front().op, OpId(1));
  EXPECT_FALSE(order.ops[0].awaited);
  EXPECT_TRUE(order.ops[1].awaited);
}

}  // namespace
}  // namespace foretoken::test
