#include "plan/lower/role_builder.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::plan {

CommunicationId CommunicationTable::get(Communication communication) {
  const auto [place, added] = by_name_.try_emplace(communication.name, CommunicationId(all_.size()));
  if (added) all_.push_back(std::move(communication));
  return place->second;
}

TensorId RoleBuilder::tensor(Tensor tensor) {
  role_.tensors.push_back(std::move(tensor));
  writer_.emplace_back();
  return TensorId(role_.tensors.size() - 1);
}

TensorId RoleBuilder::weight(Tensor tensor) {
  const auto [place, added] = weights_.try_emplace(tensor.name);
  if (added) place->second = this->tensor(std::move(tensor));
  return place->second;
}

OpId RoleBuilder::emit(Op op) {
  const OpId id(role_.ops.size());
  for (const TensorId input : op.inputs) {
    const OpId writer = writer_[input.index()];
    const bool produced = role_.tensors[input.index()].kind != TensorKind::weight;
    FORETOKEN_CHECK(!produced || writer.valid(),
                    op.name + " reads " + role_.tensors[input.index()].name + " before it is written");
    if (!writer.valid() || role_.ops[writer.index()].stream == op.stream) continue;
    const Dependency dependency{writer, 0};
    if (std::find(op.dependencies.begin(), op.dependencies.end(), dependency) == op.dependencies.end())
      op.dependencies.push_back(dependency);
  }
  for (const TensorId output : op.outputs) writer_[output.index()] = id;
  role_.ops.push_back(std::move(op));
  return id;
}

}  // namespace foretoken::plan
