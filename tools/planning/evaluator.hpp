// Many simulations of variants of one scenario. What variants have in common is computed once: machines, calibrations,
// plans, and simulations of equal plans on equal machines.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/json_reader.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/planning/point.hpp"

namespace foretoken::planning {

/// May be asked from several threads; the answers do not depend on the order of the questions.
class Evaluator {
 public:
  struct Options {
    std::filesystem::path topology;  // instead of the scenario's; may be empty
    sim::SimulateOptions simulation;
    bool bounds = true;  // also say what the critical path was bound by
  };
  /// The calibration of a topology that was read from the file.
  using CalibrationOf = std::function<Calibration(const plan::Topology&, const std::filesystem::path& file)>;
  /// How far predictions with a calibration are off; nothing where nobody knows.
  using ErrorsOf = std::function<std::shared_ptr<const explain::ModelErrors>(const Calibration&)>;

  Evaluator(const JsonDocument& scenario, Options options, CalibrationOf calibration_of, ErrorsOf errors_of);

  /// The scenario with these assignments made, as --set takes them. What cannot be is an answer too, with its reason.
  /// @throws Error of any other kind than invalid_input and infeasible
  Point evaluate(const std::vector<std::string>& assignments);

  /// How many simulations there were.
  [[nodiscard]] std::size_t simulations() const;

  /// A variant with all that it stands on.
  struct Cluster {
    plan::Topology topology;
    plan::Machine machine;
    std::shared_ptr<const Calibration> calibration;
    std::shared_ptr<const explain::ModelErrors> errors;  // may be null
  };
  struct Variant {
    plan::Scenario scenario;
    std::shared_ptr<const Cluster> cluster;
    std::shared_ptr<const plan::Plan> plan;
    std::string key;  // equal for variants whose simulations are equal
  };
  /// @throws Error{invalid_input, infeasible} as parsing and planning do
  Variant variant(const std::vector<std::string>& assignments);
  [[nodiscard]] Point simulate(const Variant& variant) const;

 private:
  std::shared_ptr<const Cluster> cluster_of(const plan::Scenario& scenario, const std::string& key);

  std::string text_;  // of the scenario, without what no simulation reads
  std::string name_;
  Options options_;
  CalibrationOf calibration_of_;
  ErrorsOf errors_of_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Cluster>> clusters_;
  std::map<std::string, std::shared_ptr<const plan::Plan>> plans_;
  std::deque<std::string> plan_order_;  // oldest first
  std::map<std::string, std::shared_future<Point>> points_;
};

/// Memory of the fullest rank of a plan.
PointMemory memory_of_fullest_rank(const plan::Plan& plan, const plan::Machine& machine);

}  // namespace foretoken::planning
