// foretoken audit: what a publication's figures rest on, over all settlements of what it leaves open.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>
#include <system_error>

#include "core/error.hpp"
#include "tools/cli/audit_report.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/sweep.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/planning/consistent.hpp"

namespace foretoken::cli {
namespace {

using planning::Combination;
using planning::Outcome;

constexpr std::size_t kCombinationsMax = 20'000;  // of one scenario

std::filesystem::path audit_file(const std::filesystem::path& path) {
  std::error_code status;
  if (!std::filesystem::is_directory(path, status)) return path;
  for (const char* name : {"audit.json", "audit/audit.json"})
    if (std::filesystem::is_regular_file(path / name, status)) return path / name;
  throw input_error(path.string(), "", "is a folder without audit.json or audit/audit.json",
                    "name a file of kind audit, or a folder with one; `foretoken schema audit` says what it holds");
}

/// A scenario of the audit with the assignments that hold for all.
struct Subject {
  JsonDocument document;
  plan::Scenario scenario;

  Subject(const std::filesystem::path& file, const std::vector<std::string>& assignments)
      : document(JsonDocument::from_file(file)), scenario(with(document, assignments)) {}

  static plan::Scenario with(JsonDocument& document, const std::vector<std::string>& assignments) {
    for (const std::string& assignment : assignments) document.set(assignment);
    return plan::parse_scenario(document);
  }

  [[nodiscard]] std::vector<Outcome> outcomes(Sweep& sweep, const std::vector<Combination>& combinations) const {
    return planning::evaluate(combinations.size(), [&](std::size_t i) {
      return sweep.sample(document, combinations[i].assignments(scenario.open_choices));
    });
  }
};

/// @throws Error{invalid_input} for what can be told before anything is simulated
void check(const Subject& subject, const std::vector<plan::OpenChoice>& own) {
  if (!subject.scenario.published)
    throw input_error(subject.document.name(), "", "nothing was published for it", "add \"published\"");
  planning::require_independent(subject.document.name(), subject.scenario.open_choices);
  planning::require_one_workload(subject.document.name(), own);
}

/// An audit says nothing if one of the two cannot be.
void require_any_ran(const Subject& subject, const std::vector<Outcome>& outcomes) {
  if (std::any_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.ran(); })) return;
  throw input_error(subject.document.name(), "",
                    fmt::format("it runs under none of its {} combinations of open choices", outcomes.size()),
                    fmt::format("mend the first: {}", outcomes.front().error));
}

planning::Swept swept(const Subject& subject, const planning::Matching& matching, std::size_t which, Sweep& sweep) {
  planning::Swept swept;
  swept.name = subject.scenario.name;
  swept.published = *subject.scenario.published;
  swept.choices = matching.own(which);
  swept.own = planning::all_combinations(swept.choices, kCombinationsMax);
  std::vector<Combination> combinations;
  for (const Combination& shared : planning::all_combinations(matching.shared(), kCombinationsMax))
    for (const Combination& own : swept.own) combinations.push_back(matching.join(which, shared, own));
  if (combinations.size() > kCombinationsMax)
    throw input_error(subject.document.name(), "/open_choices",
                      fmt::format("they have more than {} combinations", kCombinationsMax), "give them fewer options");
  swept.outcomes = subject.outcomes(sweep, combinations);
  require_any_ran(subject, swept.outcomes);
  return swept;
}

void require_the_methods_choices(const Subject& member, const plan::Scenario& method) {
  const planning::Matching matching({member.scenario.open_choices, method.open_choices});
  if (matching.own(0).empty() && matching.own(1).empty()) return;
  throw input_error(member.document.name(), "/open_choices",
                    fmt::format("they are not those of {}, of whose series this is a member", method.file),
                    "give both the same choices, with the same labels");
}

}  // namespace

void run_audit(const AuditOptions& options, std::ostream& out, std::ostream& err) {
  if (!options.out.empty()) require_writable(options.out);
  const auto begin = std::chrono::steady_clock::now();
  const JsonDocument document = JsonDocument::from_file(audit_file(options.audit));
  planning::AuditSpec spec = planning::read_audit(document);
  const explain::ModelErrors errors = explain::ModelErrors::read(JsonDocument::from_file(spec.errors));
  std::vector<std::string> assignments = spec.set;
  assignments.insert(assignments.end(), options.overrides.begin(), options.overrides.end());

  Sweep::Options sweep_options;
  sweep_options.calibration = options.calibration;
  sweep_options.simulation.framework = options.framework;
  Sweep sweep(sweep_options, &errors);
  const Subject baseline(spec.baseline, assignments);
  const Subject method(spec.method, assignments);
  std::vector<Subject> series;
  for (const auto& member : spec.series) {
    series.emplace_back(member, assignments);
    require_the_methods_choices(series.back(), method.scenario);
  }
  const planning::Matching matching({baseline.scenario.open_choices, method.scenario.open_choices});
  check(baseline, matching.own(0));
  check(method, matching.own(1));
  err << fmt::format("{}: simulating all combinations of open choices\n", spec.name);
  planning::Swept of_baseline = swept(baseline, matching, 0, sweep);
  planning::Swept of_method = swept(method, matching, 1, sweep);
  const planning::AuditResult result =
      planning::audit(spec, matching, std::move(of_baseline), std::move(of_method), errors,
                      [&](std::size_t member, const std::vector<Combination>& combinations) {
                        return series[member].outcomes(sweep, combinations);
                      });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  err << fmt::format("{}: {} simulations for {} combinations in {:.1f} s\n", spec.name, sweep.simulations(),
                     result.combinations, seconds);
  const nlohmann::ordered_json json = audit_json(spec, result, errors);
  if (!options.out.empty()) write_file(options.out, json.dump() + "\n");
  if (options.json) out << json.dump(2) << "\n";
  else out << audit_text(spec, result, errors);
}

}  // namespace foretoken::cli
