// Choices that several scenarios leave open alike, and are therefore settled together.
#pragma once

#include <string>
#include <vector>

#include "tools/planning/choices.hpp"

namespace foretoken::planning {

/// A choice is shared if every scenario has one of that name whose options have the same labels in the same order; what
/// they assign may differ ("TP 8 in a node" is DP 2 on 16 GPUs and DP 8 on 64).
class Matching {
 public:
  /// @param scenarios  choices of each; at least one
  explicit Matching(std::vector<std::vector<plan::OpenChoice>> scenarios);

  /// In the order of the first scenario.
  [[nodiscard]] const std::vector<plan::OpenChoice>& shared() const { return shared_; }
  /// What a scenario has beside the shared ones.
  [[nodiscard]] const std::vector<plan::OpenChoice>& own(std::size_t scenario) const { return own_[scenario]; }

  /// The combination of the scenario that settles both.
  [[nodiscard]] Combination join(std::size_t scenario, const Combination& shared, const Combination& own) const;

 private:
  std::vector<std::vector<plan::OpenChoice>> all_;
  std::vector<plan::OpenChoice> shared_;
  std::vector<std::vector<plan::OpenChoice>> own_;
};

}  // namespace foretoken::planning
