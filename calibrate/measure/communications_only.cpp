#include "calibrate/measure/communications_only.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/program/text.hpp"
#include "plan/program/validate.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::int64_t kWarmupSteps = 2;
constexpr const char* kStandIn = "removed";

// Hosts believe the numbers of rows that come by message: what writes those stays too.
bool writes_counts(const plan::Op& op) {
  const auto* const rowwise = std::get_if<plan::RowwiseOp>(&op.detail);
  return rowwise != nullptr && rowwise->order == plan::RowOrder::pack && op.outputs.size() > 1;
}

bool stays(const plan::Op& op) {
  return is_communication(op.kind) || op.kind == plan::OpKind::step_end || writes_counts(op);
}

class RoleStripper {
 public:
  explicit RoleStripper(const plan::Role& role) : role_(role), new_op_(role.ops.size()), before_(role.ops.size()) {
    std::map<plan::Stream, std::size_t> last;
    for (std::size_t o = 0; o < role.ops.size(); ++o) {
      const auto previous = last.find(role.ops[o].stream);
      if (previous != last.end()) before_[o] = OpId(previous->second);
      last[role.ops[o].stream] = o;
    }
  }

  plan::Role operator()() {
    stripped_.name = role_.name;
    stripped_.ranks = role_.ranks;
    stripped_.ops.push_back(stand_in());
    for (std::size_t o = 0; o < role_.ops.size(); ++o) {
      if (!stays(role_.ops[o])) continue;
      new_op_[o] = OpId(stripped_.ops.size());
      stripped_.ops.push_back(role_.ops[o]);
    }
    for (std::size_t o = 0; o < role_.ops.size(); ++o) {
      if (!new_op_[o].valid()) continue;
      plan::Op& op = stripped_.ops[new_op_[o].index()];
      op.dependencies = dependencies_of(OpId(o));
      for (auto* operands : {&op.inputs, &op.outputs})
        for (TensorId& tensor : *operands) tensor = renumbered(tensor);
    }
    declare_written();
    return std::move(stripped_);
  }

 private:
  // Does nothing, but has an input because its kind of op has: the smallest of the weights.
  plan::Op stand_in() {
    std::int32_t smallest = -1;
    const auto size = [&](std::int32_t t) {
      const plan::Tensor& tensor = role_.tensors[static_cast<std::size_t>(t)];
      return tensor.stack * tensor.rows.count * tensor.cols;
    };
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(role_.tensors.size()); ++t)
      if (role_.tensors[static_cast<std::size_t>(t)].kind == plan::TensorKind::weight &&
          (smallest < 0 || size(t) < size(smallest)))
        smallest = t;
    FORETOKEN_CHECK(smallest >= 0, "a role has weights");
    plan::Op op;
    op.name = kStandIn;
    op.kind = plan::OpKind::activation;
    op.dtype = DType::fp32;
    op.detail = plan::RowwiseOp{};
    op.inputs = {renumbered(TensorId(smallest))};
    return op;
  }

  TensorId renumbered(TensorId tensor) {
    const auto [entry, added] = new_tensor_.try_emplace(tensor, TensorId(stripped_.tensors.size()));
    if (added) stripped_.tensors.push_back(role_.tensors[tensor.index()]);
    return entry->second;
  }

  void declare_written() {
    std::set<TensorId> written;
    for (const plan::Op& op : stripped_.ops) written.insert(op.outputs.begin(), op.outputs.end());
    for (std::size_t t = 0; t < stripped_.tensors.size(); ++t)
      if (stripped_.tensors[t].kind != plan::TensorKind::weight && !written.contains(TensorId(t)))
        stripped_.ops.front().outputs.emplace_back(t);
  }

  // The ops that stay and that `op` comes after, through ops that do not.
  std::vector<plan::Dependency> dependencies_of(OpId op) const {
    std::set<plan::Dependency> found;
    std::set<plan::Dependency> seen;
    std::vector<plan::Dependency> open;
    for (const plan::Dependency& dependency : role_.ops[op.index()].dependencies) open.push_back(dependency);
    while (!open.empty()) {
      const plan::Dependency at = open.back();
      open.pop_back();
      if (at.distance > 1 || !seen.insert(at).second) continue;
      if (new_op_[at.op.index()].valid()) {
        found.insert({new_op_[at.op.index()], at.distance});
        continue;
      }
      for (plan::Dependency further : role_.ops[at.op.index()].dependencies) {
        further.distance += at.distance;
        open.push_back(further);
      }
      if (before_[at.op.index()].valid()) open.push_back({before_[at.op.index()], at.distance});
    }
    return {found.begin(), found.end()};
  }

  const plan::Role& role_;
  std::vector<OpId> new_op_;  // [op] in the stripped role, if it stays
  std::vector<OpId> before_;  // [op] the op before it on its stream
  std::map<TensorId, TensorId> new_tensor_;
  plan::Role stripped_;
};

}  // namespace

plan::Plan communications_only(const plan::Plan& plan, std::int64_t steps) {
  plan::Plan stripped = plan;
  stripped.scenario.measure.warmup_steps = kWarmupSteps;
  stripped.scenario.measure.steps = steps;
  for (plan::Role& role : stripped.program.roles) role = RoleStripper(plan::Role(role))();
  plan::validate(stripped.program, stripped.placement);
  stripped.program_hash = plan::hash_of(plan::to_text(stripped.program));
  stripped.plan_hash = plan::hash_of(stripped.program_hash + stripped.routing_hash);
  return stripped;
}

}  // namespace foretoken::calibrate
