// The time of one op, by the cost models that simulate uses: no model is here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/calibration.hpp"
#include "plan/machine/topology.hpp"
#include "sim/collective/alone.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/network_cost.hpp"
#include "tools/predict/op_line.hpp"

namespace foretoken::predict {

/// Compute ops by sim/cost/compute_cost.hpp and sim/moe_module.hpp, on one GPU that does nothing else. Communications
/// by tools/collective, among ranks that are all ready, on an idle cluster.
class Predictor {
 public:
  /// @param topology     the machine, and by default its calibration. Ops over more nodes than it has are answered for
  /// as
  ///                     many nodes of the same kind, as cluster.nodes of a scenario says.
  /// @param calibration  instead of the topology's; may be empty
  /// @param framework    whose compute kernels, where a line does not say; empty for the calibration's default
  /// @throws Error{invalid_input} for files that cannot be read, a calibration of another device or of a host, or a
  ///         framework that it does not have
  Predictor(std::filesystem::path topology, const std::filesystem::path& calibration, std::string framework);

  /// Time and what it rests on. Communications never have a known error: their residuals are not in the calibration.
  /// @throws Error{invalid_input} for what the calibration or the machine does not have
  [[nodiscard]] sim::Estimate operator()(const OpLine& line);

  /// Whose kernels answer the line; empty for communications.
  [[nodiscard]] std::string framework_of(const OpLine& line) const;
  [[nodiscard]] const std::string& machine() const { return topology_.name; }
  [[nodiscard]] const std::string& calibration() const { return calibration_.name; }

 private:
  // As many nodes of the topology.
  struct Cluster {
    plan::Machine machine;
    sim::Fabric fabric;
    Cluster(const plan::Topology& topology, const sim::NetworkCost& cost)
        : machine(plan::build_machine(topology)), fabric(machine, cost, machine.gpus()) {}
  };
  [[nodiscard]] const sim::ComputeCost& compute(const std::string& framework);
  [[nodiscard]] const Cluster& cluster(std::int64_t nodes);
  [[nodiscard]] const sim::Alone& ranks(std::int64_t count, std::int64_t nodes);

  std::filesystem::path file_;
  plan::Topology topology_;
  Calibration calibration_;
  std::string framework_;
  sim::NetworkCost network_;
  std::map<std::string, sim::ComputeCost, std::less<>> compute_;
  std::map<std::int64_t, std::unique_ptr<const Cluster>> clusters_;          // by nodes
  std::map<std::pair<std::int64_t, std::int64_t>, const sim::Alone> ranks_;  // by ranks and nodes
};

}  // namespace foretoken::predict
