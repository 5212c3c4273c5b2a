#include "tools/planning/evaluator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "core/breakdown.hpp"
#include "core/error.hpp"
#include "core/metrics.hpp"
#include "plan/memory.hpp"
#include "tools/explain/bounds.hpp"
#include "tools/explain/critical_path.hpp"

namespace foretoken::planning {
namespace {

constexpr std::size_t kPlansKept = 256;

/// Without what no simulation reads, and with paths that hold from anywhere: variants are read from text.
std::string text_of(const JsonDocument& scenario) {
  nlohmann::json json = scenario.json();
  for (const char* part : {"about", "published", "open_choices", "$schema"}) json.erase(part);
  for (const char* path : {"/cluster/topology", "/routing/file", "/model/file", "/model/hf"}) {
    const nlohmann::json::json_pointer place(path);
    if (!json.contains(place) || !json.at(place).is_string()) continue;
    const auto file = (scenario.directory() / json.at(place).get<std::string>()).lexically_normal();
    json.at(place) = file.string();
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// What of a scenario decides which machine it is planned for.
std::string machine_key(const plan::ClusterSpec& cluster) {
  return fmt::format("{} {} {}", cluster.topology.string(), cluster.nodes.value_or(0),
                     cluster.nic ? cluster.nic->value() : 0.0);
}

/// What of a scenario decides its plan. Bandwidths of NICs do not.
std::string plan_key(const nlohmann::json& scenario, const plan::ClusterSpec& cluster) {
  nlohmann::json json = scenario;
  json.erase("name");
  json.erase("cluster");
  return fmt::format("{} {} {}", cluster.topology.string(), cluster.nodes.value_or(0), json.dump());
}

/// What decides a simulation beside the machine.
std::string work_key(const nlohmann::json& scenario, const plan::Plan& plan) {
  std::string key = plan.plan_hash;
  for (const char* part : {"execution", "faults", "measure", "workload"}) {
    const auto found = scenario.find(part);
    key += found == scenario.end() ? "-" : found->dump();
  }
  return key;
}

/// Some messages are tables; a row has one line.
std::string one_line(std::string text) {
  const auto end = text.find('\n');
  if (end != std::string::npos) text.resize(end);
  return text;
}

Point impossible(const Error& error) {
  Point point;
  point.status = error.code() == ErrorCode::infeasible ? "infeasible" : "invalid";
  point.reason = one_line(error.what());
  return point;
}

}  // namespace

PointMemory memory_of_fullest_rank(const plan::Plan& plan, const plan::Machine& machine) {
  PointMemory fullest;
  for (const plan::Role& role : plan.program.roles) {
    const plan::MemoryUse use = plan::memory_of(role, plan.scenario, plan.placement);
    if (use.total() > fullest.total()) fullest = {use.weights, use.kv_cache, use.activations, 0};
  }
  fullest.device = static_cast<double>(machine.device().memory.value());
  return fullest;
}

Evaluator::Evaluator(const JsonDocument& scenario, Options options, CalibrationOf calibration_of, ErrorsOf errors_of)
    : text_(text_of(scenario)),
      name_(scenario.name()),
      options_(std::move(options)),
      calibration_of_(std::move(calibration_of)),
      errors_of_(std::move(errors_of)) {}

std::shared_ptr<const Evaluator::Cluster> Evaluator::cluster_of(const plan::Scenario& scenario,
                                                                const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto known = clusters_.find(key);
  if (known != clusters_.end()) return known->second;
  const std::filesystem::path& file = scenario.cluster.topology;
  plan::Topology topology =
      plan::read_topology(file, plan::TopologyOverrides{scenario.cluster.nodes, scenario.cluster.nic});
  plan::Machine machine = plan::build_machine(topology);
  std::shared_ptr<const Calibration> calibration;
  std::shared_ptr<const explain::ModelErrors> errors;
  // One topology has one calibration, whatever is set of it.
  for (const auto& [other_key, other] : clusters_)
    if (other_key.starts_with(file.string() + " ")) {
      calibration = other->calibration;
      errors = other->errors;
    }
  if (!calibration) {
    calibration = std::make_shared<const Calibration>(calibration_of_(topology, file));
    if (errors_of_) errors = errors_of_(*calibration);
  }
  auto cluster = std::make_shared<const Cluster>(Cluster{std::move(topology), std::move(machine), calibration, errors});
  clusters_.emplace(key, cluster);
  return cluster;
}

Evaluator::Variant Evaluator::variant(const std::vector<std::string>& assignments) {
  JsonDocument document = JsonDocument::from_text(text_, name_);
  for (const std::string& assignment : assignments) document.set(assignment);
  Variant variant;
  variant.scenario = plan::parse_scenario(document);
  if (!options_.topology.empty()) variant.scenario.cluster.topology = options_.topology;
  const std::string machine = machine_key(variant.scenario.cluster);
  variant.cluster = cluster_of(variant.scenario, machine);
  const std::string key = plan_key(document.json(), variant.scenario.cluster);
  {
    const std::lock_guard lock(mutex_);
    const auto known = plans_.find(key);
    if (known != plans_.end()) variant.plan = known->second;
  }
  if (!variant.plan) {
    variant.plan = std::make_shared<const plan::Plan>(plan::make_plan(variant.scenario, variant.cluster->machine));
    const std::lock_guard lock(mutex_);
    if (plans_.emplace(key, variant.plan).second) plan_order_.push_back(key);
    if (plan_order_.size() > kPlansKept) {
      plans_.erase(plan_order_.front());
      plan_order_.pop_front();
    }
  }
  variant.key = machine + " " + work_key(document.json(), *variant.plan);
  return variant;
}

Point Evaluator::simulate(const Variant& variant) const {
  const Cluster& cluster = *variant.cluster;
  const Trace trace = sim::simulate(*variant.plan, cluster.machine, *cluster.calibration, options_.simulation);
  const Metrics metrics = compute_metrics(trace);
  const Breakdown breakdown = break_down(trace);
  Point point;
  PointFigures& figures = point.figures;
  figures.gpus = trace.ranks;
  figures.sequences = metrics.sequences;
  figures.tps = metrics.tps;
  figures.tpot_ms_mean = metrics.tpot.mean.value() * 1e3;
  figures.tpot_ms_p50 = metrics.tpot.p50.value() * 1e3;
  figures.tpot_ms_p95 = metrics.tpot.p95.value() * 1e3;
  figures.tpot_ms_p99 = metrics.tpot.p99.value() * 1e3;
  figures.exposed_ms = breakdown.per_step(total(breakdown.exposed)).value() * 1e3;
  figures.hidden_ms = breakdown.per_step(total(breakdown.hidden)).value() * 1e3;
  figures.memory = memory_of_fullest_rank(*variant.plan, cluster.machine);
  const bool bounds = options_.bounds && !cluster.machine.is_host();
  if (!cluster.errors && !bounds) return point;
  const explain::CriticalPath path = explain::find_critical_path(trace);
  if (cluster.errors)
    figures.relative_error = relative_error(error_shares(path, trace, *cluster.errors), *cluster.errors);
  if (bounds)
    for (const explain::PathShare& share : explain::bounds_of(path, trace, *variant.plan, cluster.machine))
      figures.bounds.emplace_back(share.name,
                                  static_cast<double>(share.time.value()) / static_cast<double>(path.window().value()));
  return point;
}

Point Evaluator::evaluate(const std::vector<std::string>& assignments) {
  try {
    const Variant variant = this->variant(assignments);
    std::promise<Point> promise;
    std::shared_future<Point> future;
    bool ours = false;
    {
      const std::lock_guard lock(mutex_);
      auto& entry = points_[variant.key];
      if (!entry.valid()) {
        entry = promise.get_future().share();
        ours = true;
      }
      future = entry;
    }
    if (ours) {
      try {
        promise.set_value(simulate(variant));
      } catch (...) {
        promise.set_exception(std::current_exception());
      }
    }
    return future.get();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input && error.code() != ErrorCode::infeasible) throw;
    return impossible(error);
  }
}

std::size_t Evaluator::simulations() const {
  const std::lock_guard lock(mutex_);
  return points_.size();
}

}  // namespace foretoken::planning
