// Flows that are all known beforehand, from their starts to their completions.
//
// Who starts flows while others are under way, as the simulator does, uses sim/network/flow_network.hpp itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "sim/network/max_min.hpp"
#include "sim/network/sharing_time.hpp"

namespace foretoken::sim {

/// A flow, or any other activity over resources.
struct TimedFlow {
  double start = 0;   // seconds, >= 0: when it joins the sharing
  double demand = 0;  // > 0; bytes for a flow
  double weight = 1.0;
  double ceiling = std::numeric_limits<double>::infinity();  // > 0; finite if it uses no resource
  std::int32_t uses_begin = 0;                               // its resources are uses[uses_begin, uses_end)
  std::int32_t uses_end = 0;
};

struct FlowSet {
  std::vector<double> capacity;  // of each resource, per second
  std::vector<TimedFlow> flows;
  std::vector<ResourceUse> uses;
};

struct FlowSetOptions {
  double accuracy = 0;                                           // 0: exact; else as FlowNetwork's
  bool merge_symmetric = true;                                   // solve for one flow of each class of symmetric ones
  double seconds_max = std::numeric_limits<double>::infinity();  // that this may take by sharing_seconds()
};

/// When each flow ends, in seconds. Flows of a class end at one time, which is stored once.
class Completions {
 public:
  Completions() = default;
  explicit Completions(std::vector<double> of_class) : of_class_(std::move(of_class)) {}  // each flow a class
  Completions(std::vector<double> of_class, std::vector<std::int32_t> class_of)
      : of_class_(std::move(of_class)), class_of_(std::move(class_of)) {}

  [[nodiscard]] std::size_t size() const { return class_of_.empty() ? of_class_.size() : class_of_.size(); }
  [[nodiscard]] double operator[](std::size_t flow) const {
    return of_class_[class_of_.empty() ? flow : static_cast<std::size_t>(class_of_[flow])];
  }
  /// Of all flows; 0 if there are none.
  [[nodiscard]] double last() const;
  [[nodiscard]] std::vector<double> each() const;  // [flow]

 private:
  std::vector<double> of_class_;        // every class has a flow
  std::vector<std::int32_t> class_of_;  // [flow]; empty: its own number
};

struct FlowTimes {
  Completions completion;
  std::int64_t classes = 0;  // flows that were solved for
  std::int64_t solves = 0;   // times that shares were found
  double error = 0;          // FlowNetwork::error(); 0 if exact
};

/// When each flow ends, all sharing by max-min fairness.
///
/// @throws Error{invalid_input} if a flow never ends: a resource of it has capacity 0; or if it may take too long
FlowTimes run_flows(const FlowSet& set, const FlowSetOptions& options = {});

}  // namespace foretoken::sim
