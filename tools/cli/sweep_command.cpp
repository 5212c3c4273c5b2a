// foretoken sweep: every combination of values that some fields of a scenario take.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <thread>

#include "core/error.hpp"
#include "plan/program/text.hpp"
#include "plan/scenario/scenario.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/planning_commands.hpp"
#include "tools/cli/progress.hpp"
#include "tools/cli/scenario_fields.hpp"
#include "tools/cli/sweep_report.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/planning/journal.hpp"
#include "tools/planning/space.hpp"
#include "tools/planning/work.hpp"

namespace foretoken::cli {
namespace {

constexpr std::size_t kPointsMax = 1'000'000;

/// A sweep that can begin: whatever is wrong with the command has been said.
struct Subject {
  JsonDocument document;
  std::string name;
  planning::Space space;

  explicit Subject(const SweepOptions& options)
      : document(JsonDocument::from_file(options.scenario)),
        name(plan::parse_scenario(document).name),
        space(axes_of(options.set), kPointsMax) {}

  static std::vector<planning::Axis> axes_of(const std::vector<std::string>& set) {
    std::vector<planning::Axis> axes;
    for (const std::string& assignment : set) {
      axes.push_back(planning::read_axis(assignment));
      require_scenario_field(axes.back().field);
    }
    return axes;
  }

  /// Of all that decides the table.
  [[nodiscard]] std::string hash(const EvaluationOptions& options) const {
    std::string text = evaluation_identity(document, options);
    for (const planning::Axis& axis : space.axes()) {
      text += "\n" + axis.field;
      for (const std::string& value : axis.values) {
        text += "\n=" + value;
        if (axis.field == "cluster.topology" || axis.field == "routing.file")
          text += file_text(document.directory() / value);
      }
    }
    return plan::hash_of(text);
  }
};

void check_outputs(const SweepOptions& options) {
  for (const auto& [option, file] : {std::pair("--out", options.out), std::pair("--csv", options.csv)}) {
    if (file.empty()) continue;
    for (const auto& input : {options.scenario, options.topology, options.calibration, options.errors, options.journal})
      refuse_to_replace(file, input, option);
    require_writable(file);
  }
  if (!options.out.empty() && options.out.lexically_normal() == options.csv.lexically_normal())
    throw input_error("--csv " + options.csv.string(), "", "is also named by --out", "name another file");
}

planning::Compute compute_of(planning::Evaluator& evaluator, const planning::Space& space) {
  return
      [&](std::size_t point) { return planning::point_json(evaluator.evaluate(space.assignments_of(point))).dump(); };
}

/// Results by point, from the journal where it has them. `work` computes the others.
template <class Work>
std::vector<std::string> results_of(const SweepOptions& options, const Subject& subject, std::ostream& err,
                                    const Work& work) {
  std::optional<planning::Journal> journal;
  std::vector<std::string> results(subject.space.size());
  if (!options.journal.empty()) {
    journal.emplace(options.journal, subject.hash(options), subject.space.size());
    for (const auto& [point, result] : journal->known()) results[point] = result;
    if (!journal->known().empty())
      err << fmt::format("{}: {} of {} points are in {}\n", subject.name, journal->known().size(), results.size(),
                         options.journal.string());
  }
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < results.size(); ++i)
    if (results[i].empty()) missing.push_back(i);
  Progress progress(err, subject.name, results.size(), results.size() - missing.size());
  work(missing, [&](std::size_t point, const std::string& result) {
    if (journal) journal->add(point, result);
    results[point] = result;
    progress.step();
  });
  return results;
}

/// @throws Error as the first point's, if none ran; the table is written nevertheless
void report(const SweepOptions& options, const Subject& subject, const std::vector<std::string>& results,
            std::ostream& out) {
  const SweepTable table{subject.name, subject.space, results};
  if (!options.csv.empty()) write_file(options.csv, sweep_csv(table));
  const std::string json = options.json || !options.out.empty() ? sweep_json(table) : "";
  if (!options.out.empty()) write_file(options.out, json);
  out << (options.json ? json : sweep_text(table)) << std::flush;
  std::optional<planning::Point> first;
  for (const std::string& result : results) {
    const planning::Point point = planning::point_of(nlohmann::json::parse(result));
    if (point.ran()) return;
    if (!first || (first->status == "invalid" && point.status == "infeasible")) first = point;
  }
  throw Error(first->status == "infeasible" ? ErrorCode::infeasible : ErrorCode::invalid_input,
              fmt::format("none of {} points runs; for example: {}", results.size(), first->reason));
}

}  // namespace

void run_sweep(const SweepOptions& options, std::ostream& out, std::ostream& err) {
#ifdef FORETOKEN_MPI
  const auto on_processes = [&](const auto& mpi) {
    const Subject subject(options);
    const auto evaluator = make_evaluator(subject.document, options);
    const planning::Compute compute = compute_of(*evaluator, subject.space);
    if (mpi.rank() > 0) {
      if (!planning::work_over_mpi(mpi, {}, compute, {})) std::_Exit(0);
      return;
    }
    check_outputs(options);
    bool all_there = true;
    const auto results =
        results_of(options, subject, err, [&](const std::vector<std::size_t>& points, const planning::Done& done) {
          all_there = planning::work_over_mpi(mpi, points, compute, done);
        });
    report(options, subject, results, out);
    if (all_there) return;
    err << fmt::format("{}: processes were lost; what they were at has been computed by others\n", subject.name);
    out.flush();
    err.flush();
    std::_Exit(0);  // MPI_Finalize waits for the dead
  };
  if (run_under_mpi(on_processes, 2)) return;
#endif
  check_outputs(options);
  const Subject subject(options);
  const auto evaluator = make_evaluator(subject.document, options);
  const auto threads =
      options.threads > 0 ? static_cast<unsigned>(options.threads) : std::max(1U, std::thread::hardware_concurrency());
  const auto results =
      results_of(options, subject, err, [&](const std::vector<std::size_t>& points, const planning::Done& done) {
        planning::work_on_threads(points, threads, compute_of(*evaluator, subject.space), done);
        err << fmt::format("{}: {} simulations for {} points\n", subject.name, evaluator->simulations(), points.size());
      });
  report(options, subject, results, out);
}

}  // namespace foretoken::cli
