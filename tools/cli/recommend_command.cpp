// foretoken recommend: which deployment serves a model best on so many GPUs.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <system_error>

#include "core/error.hpp"
#include "core/quantity_text.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/planning_commands.hpp"
#include "tools/cli/recommend_report.hpp"
#include "tools/cli/scenario_fields.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

constexpr std::int64_t kContext = 1024;  // where neither the command nor the model's file says one
constexpr int kDoublings = 8;            // of the GPUs, to find out how many would do

planning::Objective objective_of(const RecommendOptions& options) {
  planning::Objective objective;
  if (!options.tpot.empty()) {
    objective.tpot = parse_duration(options.tpot);
    if (!objective.tpot)
      throw input_error("--tpot " + options.tpot, "", "is no time with a unit", "write for example --tpot 50ms");
    if (*objective.tpot <= Seconds(0))
      throw input_error("--tpot " + options.tpot, "", "is not more than nothing", "no token comes in no time");
  }
  if (options.rate) {
    if (!(*options.rate > 0) || !std::isfinite(*options.rate))
      throw input_error(fmt::format("--rate {}", *options.rate), "", "is not more than nothing",
                        "write the tokens per second that all GPUs shall give");
    objective.rate = options.rate;
  }
  return objective;
}

/// A scenario, or what has its model alone: a description of ours (kind "model") or a Hugging Face config. Files that a
/// scenario's model names are found from there.
JsonDocument model_document(const std::filesystem::path& path) {
  JsonDocument document = JsonDocument::from_file(path);
  const nlohmann::json& file = document.json();
  if (!file.is_object()) return document;
  const auto here = std::filesystem::absolute(path);
  nlohmann::json model;
  if (file.value("kind", nlohmann::json()) == "model") model["file"] = here.string();
  else if (file.contains("model_type") || file.contains("architectures")) model["hf"] = here.string();
  else if (file.contains("model") && file.at("model").is_object()) model = file.at("model");
  else return document;
  for (const char* member : {"file", "hf"})
    if (model.contains(member) && model.at(member).is_string())
      model[member] = (here.parent_path() / model.at(member).get<std::string>()).string();
  if (!model.contains("name")) {
    std::filesystem::path named = here.parent_path();
    if (model.contains("file")) named = model.at("file").get<std::string>();
    model["name"] = named.stem().string();
  }
  nlohmann::json scenario = file.contains("model") ? nlohmann::json(file) : nlohmann::json::object();
  scenario["model"] = std::move(model);
  return JsonDocument::from_text(scenario.dump(), document.name());
}

/// The members of a scenario that all candidates have.
nlohmann::json base_of(const RecommendOptions& options) {
  JsonDocument document = model_document(options.model);
  for (const std::string& assignment : options.set) {
    require_scenario_field(assignment.substr(0, assignment.find('=')));
    document.set(assignment);
  }
  const nlohmann::json& file = document.json();
  if (!file.is_object() || !file.contains("model") || !file.at("model").is_object())
    throw input_error(document.name(), "/model", "there is no model in it",
                      "name a scenario, a description of a model (kind \"model\") or a Hugging Face config");
  nlohmann::json base{{"kind", "scenario"},
                      {"schema_version", 1},
                      {"name", "recommend"},
                      {"model", file.at("model")},
                      {"measure", {{"warmup_steps", 1}, {"steps", 1}}}};
  std::int64_t context = options.context;
  const nlohmann::json::json_pointer in_file("/workload/context");
  if (context < 0)
    context = file.contains(in_file) && file.at(in_file).is_number_integer() ? file.at(in_file).get<std::int64_t>()
                                                                             : kContext;
  base["workload"] = {{"kind", "decode"}, {"sequences", 1}, {"context", context}};
  base["routing"] = {{"kind", "uniform"}, {"seed", 1}, {"routed_steps", 1}};
  // One draw of experts stands for all; what only a run knows is taken as uniform.
  if (const auto routing = file.find("routing"); routing != file.end() && routing->is_object()) {
    const nlohmann::json kind = routing->value("kind", nlohmann::json());
    if (kind == "zipf" || kind == "hot_set" || kind == "counts")
      for (const char* member : {"kind", "exponent", "hot", "share", "file", "seed"})
        if (routing->contains(member)) base["routing"][member] = routing->at(member);
    if (kind == "counts" && base["routing"].contains("file") && base["routing"]["file"].is_string())
      base["routing"]["file"] =
          (std::filesystem::absolute(options.model).parent_path() / base["routing"]["file"].get<std::string>())
              .string();
  }
  return base;
}

/// The topology with as many nodes as the GPUs need, and what was set about it.
struct Machines {
  std::filesystem::path file;
  plan::Topology topology;
  plan::Machine machine;

  Machines(const std::filesystem::path& path, std::int64_t gpus)
      : file(path), topology(with_nodes(path, gpus)), machine(plan::build_machine(topology)) {}

  static plan::Topology with_nodes(const std::filesystem::path& path, std::int64_t gpus) {
    const plan::Topology topology = plan::read_topology(path);
    if (topology.cores_per_node > 0)
      throw input_error("--cluster " + path.string(), "", "is a host, and has no GPUs", "name a topology of GPUs");
    const std::int64_t per_node = topology.gpus_per_node;
    if (gpus > per_node && gpus % per_node != 0)
      throw input_error(fmt::format("--gpus {}", gpus), "", fmt::format("are no whole nodes of {} GPUs", per_node),
                        fmt::format("write a multiple of {}, or fewer than that", per_node));
    return plan::read_topology(path, plan::TopologyOverrides{std::max<std::int64_t>(1, gpus / per_node), std::nullopt});
  }
};

struct Subject {
  nlohmann::json base;
  Machines machines;
  Calibration calibration;
  std::shared_ptr<const explain::ModelErrors> errors;

  Subject(const RecommendOptions& options, nlohmann::json model, std::int64_t gpus)
      : base(std::move(model)),
        machines(options.cluster, gpus),
        calibration(load_calibration(machines.topology, machines.file, options.calibration)),
        errors(model_errors_of(calibration, options)) {
    std::error_code status;
    base["cluster"] = {{"topology", std::filesystem::absolute(machines.file, status).string()},
                       {"nodes", machines.topology.nodes}};
  }

  [[nodiscard]] planning::EstimateBasis basis(const RecommendOptions& options) const {
    sim::SimulateOptions simulation;
    simulation.framework = options.framework;
    simulation.accuracy = options.accuracy;
    simulation.exchange_seconds_max = options.time_limit;
    return {base, machines.machine, calibration, errors.get(), simulation};
  }
};

/// The fewest GPUs, in doublings, on which something fits; 0 if none of them does.
std::int64_t gpus_that_fit(const RecommendOptions& options, const nlohmann::json& base, std::int64_t gpus) {
  for (int doubling = 1; doubling <= kDoublings; ++doubling) {
    gpus *= 2;
    try {
      const Subject subject(options, base, gpus);
      const planning::EstimateBasis basis = subject.basis(options);
      planning::Candidate plain;
      plain.dp = gpus;
      const plan::ModelSpec model = scenario_of(basis, plain).model;
      planning::SearchSpace space;
      space.overlaps = space.dispatches = false;
      for (const planning::Candidate& candidate :
           planning::deployments(model, gpus, subject.machines.topology.gpus_per_node, space)) {
        const planning::PointMemory memory = planning::memory_of(basis, candidate);
        if (memory.total() <= memory.device) return gpus;
      }
    } catch (const Error&) {
      return 0;  // the fabric has no more ports, or the like
    }
  }
  return 0;
}

[[noreturn]] void nothing_fits(const RecommendOptions& options, const RecommendReport& report,
                               const nlohmann::json& base, const std::string& device) {
  const planning::Recommendation& result = report.result;
  if (!result.nearest)
    throw Error(ErrorCode::infeasible,
                fmt::format("{} on {} GPUs: no deployment is possible", report.model, report.gpus));
  const planning::Row& row = result.rows[*result.nearest];
  if (row.fate == planning::Fate::no_memory) {
    const double short_of = row.memory.total() - row.memory.device;
    const std::int64_t enough = gpus_that_fit(options, base, report.gpus);
    throw Error(
        ErrorCode::infeasible,
        fmt::format("{} does not fit on {} GPUs: what needs least ({}) takes {:.1f} GB of a GPU (weights {:.1f}, KV "
                    "cache {:.1f}, activations {:.1f}), and {} has {:.1f} GB: {:.1f} GB short, {:.0f} GB on all {}; {}",
                    report.model, report.gpus, row.candidate.label(), row.memory.total() / 1e9,
                    row.memory.weights / 1e9, row.memory.kv_cache / 1e9, row.memory.activations / 1e9, device,
                    row.memory.device / 1e9, short_of / 1e9, short_of * static_cast<double>(report.gpus) / 1e9,
                    report.gpus,
                    enough > 0 ? fmt::format("it fits on {} GPUs", enough)
                               : "use more GPUs, a shorter --context or weights of fewer bits"));
  }
  throw Error(ErrorCode::infeasible,
              fmt::format("{} on {} GPUs: nothing keeps the objective; nearest is {} with TPOT {:.2f} ms and {:.0f} "
                          "tokens/s; use more GPUs, or relax --tpot or --rate",
                          report.model, report.gpus, row.candidate.label(), row.figures.tpot_ms_mean, row.figures.tps));
}

}  // namespace

void run_recommend(const RecommendOptions& options, std::ostream& out, std::ostream& err) {
  const planning::Objective objective = objective_of(options);
  std::optional<planning::Price> price;
  std::optional<double> watts;
  if (!options.price.empty()) price = planning::read_price(options.price);
  if (!options.watts.empty()) watts = planning::read_watts(options.watts);
  if (!options.out.empty()) {
    for (const auto& input : {options.model, options.cluster, options.calibration, options.errors})
      refuse_to_replace(options.out, input);
    require_writable(options.out);
  }
  const nlohmann::json base = base_of(options);
  const Subject subject(options, base, options.gpus);
  planning::SearchOptions search;
  search.objective = objective;
  search.simulations_max = static_cast<std::size_t>(options.simulations);
  search.prune = !options.exhaustive;
  search.progress = [&](std::size_t simulated, std::size_t candidates) {
    if (simulated % 20 == 0) err << fmt::format("recommend: {} of {} candidates simulated\n", simulated, candidates);
  };
  const planning::EstimateBasis basis = subject.basis(options);
  const planning::Recommendation result =
      planning::recommend(basis, options.gpus, subject.machines.topology.gpus_per_node, search);
  const RecommendReport report{base.at("model").value("name", "model"),
                               subject.machines.topology.name,
                               options.gpus,
                               base.at("workload").at("context").get<std::int64_t>(),
                               objective,
                               result,
                               price,
                               watts};
  const nlohmann::ordered_json json = recommend_json(report);
  if (!options.out.empty()) write_file(options.out, json.dump() + "\n");
  if (options.json) out << json.dump(2) << "\n";
  else out << recommend_text(report);
  out.flush();
  if (!result.best) nothing_fits(options, report, base, subject.machines.machine.device().name);
}

}  // namespace foretoken::cli
