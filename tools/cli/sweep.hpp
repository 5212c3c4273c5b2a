// Many simulations of variants of scenarios, what they have in common done once: machines, calibrations, equal plans.
#pragma once

#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "plan/plan.hpp"
#include "sim/simulate.hpp"
#include "tools/explain/model_errors.hpp"
#include "tools/planning/choices.hpp"

namespace foretoken::cli {

/// May be asked from several threads.
class Sweep {
 public:
  struct Options {
    std::filesystem::path topology;     // instead of the scenarios'; may be empty
    std::filesystem::path calibration;  // instead of the topologies'; may be empty
    sim::SimulateOptions simulation;
  };

  /// @param errors  for intervals; none: samples have no path_shares. Kept by reference.
  Sweep(Options options, const explain::ModelErrors* errors);

  /// The scenario with these assignments made (as --set takes them), simulated. Variants that come to one plan on one
  /// machine are simulated once.
  /// @throws Error as load() and sim::simulate() do
  planning::Sample sample(const JsonDocument& scenario, const std::vector<std::string>& assignments);

  /// How many simulations there were.
  [[nodiscard]] std::size_t simulations() const { return samples_.size(); }

 private:
  struct Cluster {
    plan::Topology topology;
    plan::Machine machine;
    std::shared_ptr<const Calibration> calibration;
  };
  std::shared_ptr<const Cluster> cluster_of(const plan::Scenario& scenario, const std::string& key);
  planning::Sample simulate(const plan::Plan& plan, const Cluster& cluster) const;

  Options options_;
  const explain::ModelErrors* errors_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Cluster>> clusters_;
  std::map<std::string, std::shared_ptr<const Calibration>> calibrations_;                       // by file
  std::map<std::pair<std::string, std::string>, std::shared_future<planning::Sample>> samples_;  // by machine and plan
};

}  // namespace foretoken::cli
