// Numbers for what a Program unrolls to: one execution per rank, op and step.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ids.hpp"
#include "plan/program/program.hpp"

namespace foretoken::sim {

/// One execution of one op.
struct Execution {
  RankId rank;
  OpId op;
  std::int32_t step = 0;
  auto operator<=>(const Execution&) const = default;
};

/// Dense numbering of (rank, op) and of (rank, step, op), both ordered as written.
class ProgramIndex {
 public:
  explicit ProgramIndex(const plan::Program& program) : ops_before_{0} {
    for (std::int64_t rank = 0; rank < program.ranks; ++rank) {
      const auto ops = program.role_of(RankId(static_cast<std::int32_t>(rank))).ops.size();
      ops_before_.push_back(ops_before_.back() + static_cast<std::int64_t>(ops));
    }
  }

  [[nodiscard]] std::int64_t ops_of(RankId rank) const {
    return ops_before_[rank.index() + 1] - ops_before_[rank.index()];
  }
  [[nodiscard]] std::int64_t ops() const { return ops_before_.back(); }
  [[nodiscard]] std::size_t slot(RankId rank, OpId op) const {
    return static_cast<std::size_t>(ops_before_[rank.index()]) + op.index();
  }
  /// Position in a trace of `steps` steps.
  [[nodiscard]] std::size_t event(const Execution& execution, std::int64_t steps) const {
    return static_cast<std::size_t>(ops_before_[execution.rank.index()] * steps +
                                    execution.step * ops_of(execution.rank)) +
           execution.op.index();
  }

 private:
  std::vector<std::int64_t> ops_before_;  // [rank], and the total
};

}  // namespace foretoken::sim
