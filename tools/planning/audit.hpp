// An audit: under which settlements of the open choices do two published rows agree with the simulator, what becomes of
// the speed-up under the others, and what does each statement of the publication rest on?
//
// A *settlement* settles the choices that baseline and method share (the model, the workload, the fabric); a
// *combination* is a settlement with the own choices of both.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/explain/model_errors.hpp"
#include "tools/planning/audit_spec.hpp"
#include "tools/planning/matching.hpp"

namespace foretoken::planning {

/// One of the two deployments with all its outcomes.
struct Swept {
  std::string name;
  plan::PublishedFigures published;
  std::vector<plan::OpenChoice> choices;  // its own
  std::vector<Combination> own;
  std::vector<Outcome> outcomes;  // [settlement x own.size() + own]

  [[nodiscard]] const Outcome& at(std::size_t settlement, std::size_t o) const {
    return outcomes[settlement * own.size() + o];
  }
};

/// Value with its first-order interval, against the threshold of a statement.
struct Judged {
  double value = 0;
  explain::Span span;
};

/// A statement over several combinations.
struct Tally {
  std::int64_t count = 0;
  std::int64_t holds = 0;   // the whole interval is at or above the threshold
  std::int64_t within = 0;  // the threshold is inside the interval
  std::int64_t fails = 0;   // the whole interval is below
  double least = 0, median = 0, most = 0;
};

enum class Verdict : std::uint8_t {
  contradicted,  // by the published figures themselves
  open,          // no combination agrees with both rows
  fails,         // under every combination that agrees
  as_run,        // only because the baseline was not run as well as it could have been
  holds,         // under every combination that agrees, best-run baselines included
  ambiguous      // none of these: it depends on choices, or on what the interval leaves open
};
std::string_view name_of(Verdict verdict);

struct StatementResult {
  Statement statement;
  std::optional<double> published;  // the figure that follows from the published rows alone
  Tally all;
  Tally agreeing;
  Tally best_run;  // per settlement with an agreeing combination: method at its best / baseline at its best
  Verdict verdict = Verdict::open;
};

/// A combination, by its settlement and the own choices of both.
struct Pair {
  std::size_t settlement = 0;
  std::size_t baseline = 0;
  std::size_t method = 0;
};

struct SettlementResult {
  std::size_t settlement = 0;
  std::optional<std::size_t> baseline_best, baseline_slowest;  // own choices by TPOT; nothing where none ran
  std::optional<std::size_t> method_best, method_slowest;
  std::int64_t agreeing = 0;
  double agreeing_least = 0, agreeing_most = 0;  // speed-up (TPS ratio) of those
  std::optional<Judged> best_run;                // best method / best baseline
};

/// All combinations with one option of one choice.
struct OptionResult {
  std::string choice, option;
  std::int64_t combinations = 0, agreeing = 0;
  double least = 0, median = 0, most = 0;  // speed-up
};

struct AuditResult {
  std::vector<plan::OpenChoice> shared;
  std::vector<Combination> settlements;
  Swept baseline, method;
  std::int64_t combinations = 0;  // in all; of these, `impossible` do not run
  std::int64_t impossible = 0;
  std::vector<Pair> agreeing;  // nearest to the published rows first
  std::vector<SettlementResult> by_settlement;
  std::vector<OptionResult> by_option;
  std::vector<StatementResult> statements;
};

/// Samples of a member of the series under choices of the method.
using SeriesSamples =
    std::function<std::vector<Outcome>(std::size_t member, const std::vector<Combination>& of_the_method)>;

/// @param matching  of baseline (0) and method (1)
/// @param series    asked once per member, for those choices of the method that are in an agreeing combination
AuditResult audit(const AuditSpec& spec, const Matching& matching, Swept baseline, Swept method,
                  const explain::ModelErrors& errors, const SeriesSamples& series);

/// Whether what rounds to the published figures is in the interval of the prediction.
bool agrees(const Sample& sample, const plan::PublishedFigures& published, const explain::ModelErrors& errors);

/// The larger of the absolute relative errors of TPS and TPOT against what was published.
double distance(const Sample& sample, const plan::PublishedFigures& published);

}  // namespace foretoken::planning
