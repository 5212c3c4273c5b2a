#include "tools/cli/sweep.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "tools/cli/load.hpp"

namespace foretoken::cli {
namespace {

/// What of a scenario decides which machine it is planned for.
std::string machine_key(const plan::ClusterSpec& cluster) {
  return fmt::format("{} {} {}", cluster.topology.string(), cluster.nodes.value_or(0),
                     cluster.nic ? cluster.nic->value() : 0.0);
}

/// What decides a simulation beside the plan's hash.
std::string work_key(const JsonDocument& scenario, const plan::Plan& plan) {
  const nlohmann::json& json = scenario.json();
  std::string key = plan.plan_hash;
  for (const char* part : {"execution", "faults", "measure"}) {
    const auto found = json.find(part);
    key += found == json.end() ? "-" : found->dump();
  }
  return key;
}

/// The scenario with these assignments made. Documents share what they hold when they are copied, so that a variant is
/// read anew, and must find its topology from where the scenario stands.
JsonDocument variant_of(const JsonDocument& scenario, const std::vector<std::string>& assignments) {
  JsonDocument variant = JsonDocument::from_text(scenario.json().dump(), scenario.name());
  for (const std::string& assignment : assignments) variant.set(assignment);
  const nlohmann::json::json_pointer topology("/cluster/topology");
  if (variant.json().contains(topology) && variant.json().at(topology).is_string()) {
    const auto file = scenario.directory() / variant.json().at(topology).get<std::string>();
    variant.set("cluster.topology=" + nlohmann::json(file.lexically_normal().string()).dump());
  }
  return variant;
}

}  // namespace

Sweep::Sweep(Options options, const explain::ModelErrors* errors) : options_(std::move(options)), errors_(errors) {}

std::shared_ptr<const Sweep::Cluster> Sweep::cluster_of(const plan::Scenario& scenario, const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto known = clusters_.find(key);
  if (known != clusters_.end()) return known->second;
  plan::Topology topology = plan::read_topology(scenario.cluster.topology,
                                                plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(topology);
  const std::string file = (options_.calibration.empty() ? topology.calibration : options_.calibration).string();
  auto& calibration = calibrations_[file];
  if (!calibration)
    calibration = std::make_shared<const Calibration>(
        load_calibration(topology, scenario.cluster.topology, options_.calibration));
  else require_calibration_for(*calibration, topology.device);
  auto cluster = std::make_shared<const Cluster>(Cluster{std::move(topology), std::move(machine), calibration});
  clusters_.emplace(key, cluster);
  return cluster;
}

planning::Sample Sweep::simulate(const plan::Plan& plan, const Cluster& cluster) const {
  const Trace trace = sim::simulate(plan, cluster.machine, *cluster.calibration, options_.simulation);
  planning::Sample sample;
  sample.metrics = compute_metrics(trace);
  sample.ranks = trace.ranks;
  const Breakdown breakdown = break_down(trace);
  sample.exposed = breakdown.per_step(total(breakdown.exposed));
  sample.hidden = breakdown.per_step(total(breakdown.hidden));
  if (errors_ != nullptr) sample.path_shares = error_shares(explain::find_critical_path(trace), trace, *errors_);
  return sample;
}

planning::Sample Sweep::sample(const JsonDocument& scenario, const std::vector<std::string>& assignments) {
  const JsonDocument variant = variant_of(scenario, assignments);
  plan::Scenario parsed = plan::parse_scenario(variant);
  if (!options_.topology.empty()) parsed.cluster.topology = options_.topology;
  const std::string machine = machine_key(parsed.cluster);
  const std::shared_ptr<const Cluster> cluster = cluster_of(parsed, machine);
  const plan::Plan plan = plan::make_plan(parsed, cluster->machine);

  std::promise<planning::Sample> promise;
  std::shared_future<planning::Sample> future;
  bool ours = false;
  {
    const std::lock_guard lock(mutex_);
    auto& entry = samples_[{machine, work_key(variant, plan)}];
    if (!entry.valid()) {
      entry = promise.get_future().share();
      ours = true;
    }
    future = entry;
  }
  if (ours) {
    try {
      promise.set_value(simulate(plan, *cluster));
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
  }
  return future.get();
}

}  // namespace foretoken::cli
