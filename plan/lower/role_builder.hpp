// Collects the tensors and ops of one role and derives each op's dependencies from the tensors it reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "plan/program/program.hpp"

namespace foretoken::plan {

/// Communications and groups that all roles share: the same name is the same communication.
class CommunicationTable {
 public:
  CommunicationId get(Communication communication);
  [[nodiscard]] std::vector<Communication> take() { return std::move(all_); }

 private:
  std::vector<Communication> all_;
  std::map<std::string, CommunicationId> by_name_;
};

class RoleBuilder {
 public:
  explicit RoleBuilder(std::string name) { role_.name = std::move(name); }

  TensorId tensor(Tensor tensor);
  /// The weight of this name: several micro-batches read the same one.
  TensorId weight(Tensor tensor);
  /// Appends an op. Inputs that earlier ops of this role wrote on other streams become dependencies.
  OpId emit(Op op);
  /// Adds a dependency on an op of the previous step.
  void carry(OpId op, OpId on) { role_.ops[op.index()].dependencies.push_back(Dependency{on, 1}); }
  [[nodiscard]] const Tensor& operator[](TensorId id) const { return role_.tensors[id.index()]; }
  [[nodiscard]] std::size_t ops() const { return role_.ops.size(); }
  [[nodiscard]] Role take() { return std::move(role_); }

 private:
  Role role_;
  std::map<std::string, TensorId> weights_;
  std::vector<OpId> writer_;  // [tensor] -> op that wrote it, or invalid
};

}  // namespace foretoken::plan
