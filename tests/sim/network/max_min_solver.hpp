// Max-min shares of one moment, found afresh: an oracle of FlowNetwork, which keeps what it can from one event to the
// next. sim/network/max_min.hpp states the mathematics.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sim/network/max_min.hpp"

namespace foretoken::sim {

struct MaxMinActivity {
  double weight = 1.0;          // > 0
  double ceiling = 0.0;         // > 0; its rate when alone; may be infinite if it uses a resource
  std::int32_t uses_begin = 0;  // its resources are uses[uses_begin, uses_end)
  std::int32_t uses_end = 0;
};

/// Progressive filling, with the resources in a heap.
///
/// Cost: the number of uses, plus (touched resources) x log. Scratch space is kept between calls: one solver per
/// thread.
class MaxMinSolver {
 public:
  /// @param capacity    of each resource, >= 0; a resource of capacity 0 stops whoever uses it
  /// @param activities  all that there are
  /// @param members     indices of those to solve for; the others do not exist
  /// @param uses        of all activities
  /// @param rates       out, [activity]; written for members only
  /// @param bottleneck  out, [activity]: the resource that limits it, or -1 for its own ceiling; members only
  void solve(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
             std::span<const std::int32_t> members, std::span<const ResourceUse> uses, std::span<double> rates,
             std::span<std::int32_t> bottleneck);

 private:
  struct Filling {
    double free = 0;           // capacity less what frozen activities take
    double slope = 0;          // what one unit of level takes for the others
    std::int32_t growing = 0;  // how many others (an exact zero, where slope may keep a rounding error)
    std::int32_t users_begin = 0;
    std::int32_t users_end = 0;
  };
  struct User {
    std::int32_t activity;
    double amount;
  };
  struct Candidate {
    double level;
    std::int32_t resource;
    // Inverted, for a heap with the least level on top; equal levels: lower resource first.
    bool operator<(const Candidate& other) const {
      return std::pair(level, resource) > std::pair(other.level, other.resource);
    }
  };

  void collect(std::span<const double> capacity, std::span<const MaxMinActivity> activities,
               std::span<const std::int32_t> members, std::span<const ResourceUse> uses);
  void sum_afresh(std::int32_t resource, std::span<const double> capacity, std::span<const MaxMinActivity> activities,
                  std::span<const double> rates);

  std::vector<Filling> filling_;       // [resource]; valid for touched ones
  std::vector<std::int32_t> touched_;  // resources that a member uses
  std::vector<char> is_touched_;       // [resource]; all zero between calls
  std::vector<User> users_;            // members by resource
  std::vector<char> frozen_;           // [activity]
  std::vector<Candidate> heap_;
  std::vector<std::int32_t> by_ceiling_;
};

}  // namespace foretoken::sim
