#include "tools/cli/choices_report.hpp"

#include <fmt/format.h>

#include <optional>

#include "tools/cli/numbers.hpp"
#include "tools/cli/sweep.hpp"
#include "tools/planning/choices.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using planning::Combination;
using planning::Outcome;

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string figures(const Outcome& outcome, const std::optional<plan::PublishedFigures>& published) {
  if (!outcome.ran()) return first_line(outcome.error);
  const Metrics& m = outcome.sample.metrics;
  std::string text = fmt::format("{:>10} {:>9.3f}", grouped(m.tps), m.tpot.mean.value() * 1e3);
  if (published && published->tps) text += fmt::format(" {:>+8.1f}", 100 * (m.tps / *published->tps - 1));
  if (published && published->tpot) text += fmt::format(" {:>+8.1f}", 100 * (ratio(m.tpot.mean, *published->tpot) - 1));
  return text;
}

Json outcome_json(const std::string& label, const Outcome& outcome) {
  if (!outcome.ran()) return {{"choices", label}, {"error", outcome.error}};
  return {{"choices", label},
          {"tps", outcome.sample.metrics.tps},
          {"tpot_ms", outcome.sample.metrics.tpot.mean.value() * 1e3}};
}

void report_neighbours(const JsonDocument& document, Sweep& sweep, ChoicesReport& report) {
  const plan::Scenario scenario = plan::parse_scenario(document);
  const auto& choices = scenario.open_choices;
  const Combination base = planning::in_force(document, choices);
  std::vector<Combination> combinations{base};
  const auto others = planning::neighbours(choices, base);
  combinations.insert(combinations.end(), others.begin(), others.end());
  const std::vector<Outcome> outcomes = planning::evaluate(
      combinations.size(), [&](std::size_t i) { return sweep.sample(document, combinations[i].assignments(choices)); });

  const auto& published = scenario.published;
  report.text += fmt::format("\n{}: one open choice changed at a time\n  {:<34} {:>10} {:>9}", scenario.name, "", "TPS",
                             "TPOT ms");
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
  report.json["neighbours"].push_back({{"scenario", scenario.name}, {"rows", std::move(rows)}});
}

}  // namespace

ChoicesReport report_choices(const SimulateOptions& options) {
  ChoicesReport report;
  report.json = Json{{"neighbours", Json::array()}};
  Sweep sweep({options.topology, options.calibration, simulation_options(options)}, nullptr);
  for (const auto& file : options.scenarios) {
    JsonDocument document = JsonDocument::from_file(file);
    for (const std::string& assignment : options.overrides) document.set(assignment);
    report_neighbours(document, sweep, report);
  }
  return report;
}

}  // namespace foretoken::cli
