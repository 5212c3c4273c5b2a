#include "tools/cli/choices_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <ostream>

#include "sim/simulate.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/planning/choices.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using planning::Combination;
using planning::Outcome;

constexpr double kConsistent = 0.15;
constexpr std::size_t kCombinationsMax = 20'000;

/// One scenario with its choices and how to simulate them.
struct Subject {
  std::filesystem::path file;
  Loaded loaded;
  Calibration calibration;

  [[nodiscard]] const std::vector<plan::OpenChoice>& choices() const { return loaded.scenario.open_choices; }

  [[nodiscard]] std::vector<Outcome> evaluate(const std::vector<Combination>& combinations,
                                              const SimulateOptions& options) const {
    const std::vector<std::string>& overrides = options.overrides;
    std::vector<std::vector<std::string>> assignments;
    for (const Combination& combination : combinations) {
      assignments.push_back(overrides);
      const auto own = combination.assignments(choices());
      assignments.back().insert(assignments.back().end(), own.begin(), own.end());
    }
    return planning::evaluate(assignments, [&](const std::vector<std::string>& some) {
      ScenarioOptions changed_options = options;
      changed_options.overrides = some;
      const Loaded changed = load(file, changed_options);
      return compute_metrics(sim::simulate(changed.plan, changed.machine, calibration, simulation_options(options)));
    });
  }
};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string figures(const Outcome& outcome, const std::optional<plan::PublishedFigures>& published) {
  if (!outcome.ran()) return first_line(outcome.error);
  const Metrics& m = outcome.metrics;
  std::string text = fmt::format("{:>10} {:>9.3f}", grouped(m.tps), m.tpot.mean.value() * 1e3);
  if (published && published->tps) text += fmt::format(" {:>+8.1f}", 100 * (m.tps / *published->tps - 1));
  if (published && published->tpot) text += fmt::format(" {:>+8.1f}", 100 * (ratio(m.tpot.mean, *published->tpot) - 1));
  return text;
}

Json outcome_json(const std::string& label, const Outcome& outcome) {
  if (!outcome.ran()) return {{"choices", label}, {"error", outcome.error}};
  return {{"choices", label}, {"tps", outcome.metrics.tps}, {"tpot_ms", outcome.metrics.tpot.mean.value() * 1e3}};
}

void report_neighbours(const Subject& subject, const SimulateOptions& options, ChoicesReport& report) {
  const auto& choices = subject.choices();
  const Combination base = planning::in_force(subject.loaded.document, choices);
  std::vector<Combination> combinations{base};
  const auto others = planning::neighbours(choices, base);
  combinations.insert(combinations.end(), others.begin(), others.end());
  const std::vector<Outcome> outcomes = subject.evaluate(combinations, options);

  const auto& published = subject.loaded.scenario.published;
  report.text += fmt::format("\n{}: one open choice changed at a time\n  {:<34} {:>10} {:>9}",
                             subject.loaded.scenario.name, "", "TPS", "TPOT ms");
  if (published) report.text += fmt::format(" {:>8} {:>8}", "TPS %", "TPOT %");
  report.text += fmt::format("\n  {:<34} {}\n", "as in the file", figures(outcomes[0], published));
  Json rows = Json::array({outcome_json("as in the file", outcomes[0])});
  for (std::size_t i = 1; i < combinations.size(); ++i) {
    std::string label;
    for (std::size_t c = 0; c < choices.size(); ++c)
      if (combinations[i].option[c] != base.option[c])
        label = fmt::format("{} = {}", choices[c].name, choices[c].options[combinations[i].option[c]].label);
    report.text += fmt::format("  {:<34} {}\n", label, figures(outcomes[i], published));
    rows.push_back(outcome_json(label, outcomes[i]));
  }
  report.json["neighbours"].push_back({{"scenario", subject.loaded.scenario.name}, {"rows", std::move(rows)}});
}

/// A subject's outcomes under one settlement of the shared choices.
struct Nearest {
  std::string label;  // own choices
  const Outcome* outcome = nullptr;
  double distance = 0;
};

class Together {
 public:
  Together(const std::vector<const Subject*>& subjects, const SimulateOptions& options) : subjects_(subjects) {
    for (const plan::OpenChoice& choice : subjects.front()->choices()) {
      const bool everywhere = std::all_of(subjects.begin(), subjects.end(), [&](const Subject* subject) {
        return std::any_of(subject->choices().begin(), subject->choices().end(), [&](const plan::OpenChoice& other) {
          return other.name == choice.name && other.options == choice.options;
        });
      });
      if (everywhere) shared_.push_back(choice);
    }
    for (const Subject* subject : subjects) {
      combinations_.push_back(planning::all_combinations(subject->choices(), kCombinationsMax));
      outcomes_.push_back(subject->evaluate(combinations_.back(), options));
    }
  }

  void report(ChoicesReport& report) const {
    report.text +=
        "\nUnder each settlement of what the scenarios share: the own choices that come nearest to what was "
        "published\n";
    std::size_t consistent = 0;
    Json rows = Json::array();
    for (const Combination& shared : planning::all_combinations(shared_, kCombinationsMax)) {
      report.text += fmt::format("  {}\n", shared.label(shared_));
      Json row{{"shared", shared.label(shared_)}, {"nearest", Json::array()}};
      double worst = 0;
      bool complete = true;
      for (std::size_t s = 0; s < subjects_.size(); ++s) {
        const Nearest nearest = nearest_under(s, shared);
        complete = complete && nearest.outcome != nullptr;
        if (nearest.outcome == nullptr) continue;
        worst = std::max(worst, nearest.distance);
        report.text += fmt::format("    {:<26} {}  {}\n", subjects_[s]->loaded.scenario.name,
                                   figures(*nearest.outcome, subjects_[s]->loaded.scenario.published), nearest.label);
        Json entry = outcome_json(nearest.label, *nearest.outcome);
        entry["scenario"] = subjects_[s]->loaded.scenario.name;
        row["nearest"].push_back(std::move(entry));
      }
      const bool agrees = complete && worst <= kConsistent;
      consistent += agrees ? 1 : 0;
      report.text +=
          fmt::format("    {}: largest error {:.1f} %\n", agrees ? "consistent" : "not consistent", 100 * worst);
      row["largest_error"] = worst;
      row["consistent"] = agrees;
      rows.push_back(std::move(row));
    }
    report.text += fmt::format(
        "  {} of {} settlements come within {:.0f} % of all published figures, each scenario with own choices of its "
        "own\n",
        consistent, rows.size(), 100 * kConsistent);
    report.json["together"] = std::move(rows);
  }

 private:
  // Index of the shared choice among those of a subject.
  [[nodiscard]] std::size_t position(std::size_t s, const plan::OpenChoice& choice) const {
    const auto& own = subjects_[s]->choices();
    return static_cast<std::size_t>(
        std::find_if(own.begin(), own.end(), [&](const plan::OpenChoice& other) { return other.name == choice.name; }) -
        own.begin());
  }

  [[nodiscard]] Nearest nearest_under(std::size_t s, const Combination& shared) const {
    Nearest best;
    for (std::size_t i = 0; i < combinations_[s].size(); ++i) {
      const Combination& combination = combinations_[s][i];
      bool applies = outcomes_[s][i].ran();
      for (std::size_t c = 0; c < shared_.size() && applies; ++c)
        applies = combination.option[position(s, shared_[c])] == shared.option[c];
      if (!applies) continue;
      const double distance = planning::distance(outcomes_[s][i].metrics, *subjects_[s]->loaded.scenario.published);
      if (best.outcome == nullptr || distance < best.distance)
        best = Nearest{own_label(s, combination), &outcomes_[s][i], distance};
    }
    return best;
  }

  [[nodiscard]] std::string own_label(std::size_t s, const Combination& combination) const {
    std::vector<plan::OpenChoice> own;
    Combination part;
    for (std::size_t c = 0; c < subjects_[s]->choices().size(); ++c) {
      const plan::OpenChoice& choice = subjects_[s]->choices()[c];
      const bool is_shared = std::any_of(shared_.begin(), shared_.end(),
                                         [&](const plan::OpenChoice& other) { return other.name == choice.name; });
      if (is_shared) continue;
      own.push_back(choice);
      part.option.push_back(combination.option[c]);
    }
    return part.label(own);
  }

  const std::vector<const Subject*>& subjects_;
  std::vector<plan::OpenChoice> shared_;
  std::vector<std::vector<Combination>> combinations_;
  std::vector<std::vector<Outcome>> outcomes_;
};

}  // namespace

ChoicesReport report_choices(const SimulateOptions& options, std::ostream& progress) {
  ChoicesReport report;
  report.json = Json{{"neighbours", Json::array()}};
  std::vector<Subject> subjects;
  for (const auto& file : options.scenarios) {
    Loaded loaded = load(file, options);
    Calibration calibration = load_calibration(loaded, options.calibration);
    subjects.push_back(Subject{file, std::move(loaded), std::move(calibration)});
  }
  std::vector<const Subject*> published;
  for (const Subject& subject : subjects) {
    report_neighbours(subject, options, report);
    if (subject.loaded.scenario.published && !subject.choices().empty()) published.push_back(&subject);
  }
  if (published.size() < 2) return report;
  progress << "simulating all combinations of open choices\n";
  Together(published, options).report(report);
  return report;
}

}  // namespace foretoken::cli
