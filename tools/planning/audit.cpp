#include "tools/planning/audit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

namespace foretoken::planning {
namespace {

using explain::ModelErrors;

double tpot(const Sample& sample) { return sample.metrics.tpot.mean.value(); }

Judged ratio_of(const Sample& method, const Sample& baseline, StatementKind kind, const ModelErrors& errors) {
  double value = method.metrics.tps / baseline.metrics.tps;
  if (kind == StatementKind::tpot_ratio) value = tpot(baseline) / tpot(method);
  if (kind == StatementKind::per_gpu || kind == StatementKind::scaling)
    value *= static_cast<double>(baseline.ranks) / static_cast<double>(method.ranks);
  return {value, explain::span_of(value, explain::ratio_error(method.path_shares, baseline.path_shares, errors))};
}

Judged hidden_share(const Sample& sample) {
  const double all = (sample.hidden + sample.exposed).value();
  const double share = all > 0 ? sample.hidden.value() / all : 0;
  return {share, {share, share}};
}

Tally tally_of(const std::vector<Judged>& figures, double at_least) {
  Tally tally;
  std::vector<double> values;
  for (const Judged& figure : figures) {
    ++tally.count;
    if (figure.span.low >= at_least) ++tally.holds;
    else if (figure.span.high < at_least) ++tally.fails;
    else ++tally.within;
    values.push_back(figure.value);
  }
  if (values.empty()) return tally;
  std::sort(values.begin(), values.end());
  tally.least = values.front();
  tally.median = values[values.size() / 2];
  tally.most = values.back();
  return tally;
}

Verdict verdict_of(const StatementResult& result) {
  const Tally& agreeing = result.agreeing;
  if (result.published && *result.published < result.statement.at_least) return Verdict::contradicted;
  if (agreeing.count == 0) return Verdict::open;
  if (agreeing.fails == agreeing.count) return Verdict::fails;
  const Tally& best = result.best_run;
  if (best.count > 0 && best.fails == best.count) return Verdict::as_run;
  const bool best_holds = best.holds == best.count;
  return agreeing.holds == agreeing.count && best_holds ? Verdict::holds : Verdict::ambiguous;
}

class Auditor {
 public:
  Auditor(const AuditSpec& spec, const Matching& matching, const ModelErrors& errors, AuditResult& result)
      : spec_(spec), matching_(matching), errors_(errors), result_(result) {}

  void pair_up() {
    for (std::size_t s = 0; s < result_.settlements.size(); ++s)
      for (std::size_t b = 0; b < baseline().own.size(); ++b)
        for (std::size_t m = 0; m < method().own.size(); ++m) {
          ++result_.combinations;
          if (!baseline().at(s, b).ran() || !method().at(s, m).ran()) {
            ++result_.impossible;
            continue;
          }
          pairs_.push_back({s, b, m});
          if (agrees(baseline().at(s, b).sample, baseline().published, errors_) &&
              agrees(method().at(s, m).sample, method().published, errors_))
            result_.agreeing.push_back({s, b, m});
        }
    std::stable_sort(result_.agreeing.begin(), result_.agreeing.end(),
                     [&](const Pair& x, const Pair& y) { return far(x) < far(y); });
    for (const Pair& pair : result_.agreeing) agreeing_.insert(key(pair));
  }

  void settle() {
    for (std::size_t s = 0; s < result_.settlements.size(); ++s) {
      SettlementResult row;
      row.settlement = s;
      std::tie(row.baseline_best, row.baseline_slowest) = extremes(baseline(), s);
      std::tie(row.method_best, row.method_slowest) = extremes(method(), s);
      for (const Pair& pair : result_.agreeing) {
        if (pair.settlement != s) continue;
        const double speed_up = figure(pair, StatementKind::tps_ratio).value;
        row.agreeing_least = row.agreeing == 0 ? speed_up : std::min(row.agreeing_least, speed_up);
        row.agreeing_most = std::max(row.agreeing_most, speed_up);
        ++row.agreeing;
      }
      if (row.baseline_best && row.method_best)
        row.best_run = figure({s, *row.baseline_best, *row.method_best}, StatementKind::tps_ratio);
      result_.by_settlement.push_back(row);
    }
  }

  void options() {
    const auto add = [&](const std::vector<plan::OpenChoice>& choices, const auto& combination_of) {
      for (std::size_t c = 0; c < choices.size(); ++c)
        for (std::size_t o = 0; o < choices[c].options.size(); ++o) {
          OptionResult row{choices[c].name, choices[c].options[o].label};
          std::vector<Judged> figures;
          for (const Pair& pair : pairs_) {
            if (combination_of(pair).option[c] != o) continue;
            figures.push_back(figure(pair, StatementKind::tps_ratio));
            row.agreeing += agreeing_.contains(key(pair)) ? 1 : 0;
          }
          const Tally tally = tally_of(figures, 0);
          row.combinations = tally.count;
          std::tie(row.least, row.median, row.most) = std::tie(tally.least, tally.median, tally.most);
          result_.by_option.push_back(std::move(row));
        }
    };
    add(result_.shared, [&](const Pair& p) -> const Combination& { return result_.settlements[p.settlement]; });
    add(baseline().choices, [&](const Pair& p) -> const Combination& { return baseline().own[p.baseline]; });
    add(method().choices, [&](const Pair& p) -> const Combination& { return method().own[p.method]; });
  }

  void judge(const SeriesSamples& series) {
    for (const Statement& statement : spec_.statements) {
      StatementResult row;
      row.statement = statement;
      row.published = published_figure(statement.kind);
      switch (statement.kind) {
        case StatementKind::tps_ratio:
        case StatementKind::tpot_ratio:
        case StatementKind::per_gpu: judge_ratio(row); break;
        case StatementKind::hidden: judge_hidden(row); break;
        case StatementKind::scaling: judge_scaling(row, series); break;
      }
      row.verdict = verdict_of(row);
      result_.statements.push_back(std::move(row));
    }
  }

 private:
  using Key = std::array<std::size_t, 3>;

  [[nodiscard]] const Swept& baseline() const { return result_.baseline; }
  [[nodiscard]] const Swept& method() const { return result_.method; }
  static Key key(const Pair& pair) { return {pair.settlement, pair.baseline, pair.method}; }
  [[nodiscard]] const Sample& baseline_of(const Pair& p) const {
    return baseline().at(p.settlement, p.baseline).sample;
  }
  [[nodiscard]] const Sample& method_of(const Pair& p) const { return method().at(p.settlement, p.method).sample; }

  [[nodiscard]] double far(const Pair& pair) const {
    return std::max(distance(baseline_of(pair), baseline().published), distance(method_of(pair), method().published));
  }

  [[nodiscard]] Judged figure(const Pair& pair, StatementKind kind) const {
    return ratio_of(method_of(pair), baseline_of(pair), kind, errors_);
  }

  /// Own choices of the least and the largest TPOT.
  static std::pair<std::optional<std::size_t>, std::optional<std::size_t>> extremes(const Swept& swept, std::size_t s) {
    std::optional<std::size_t> best, slowest;
    for (std::size_t o = 0; o < swept.own.size(); ++o) {
      if (!swept.at(s, o).ran()) continue;
      const double time = tpot(swept.at(s, o).sample);
      if (!best || time < tpot(swept.at(s, *best).sample)) best = o;
      if (!slowest || time > tpot(swept.at(s, *slowest).sample)) slowest = o;
    }
    return {best, slowest};
  }

  [[nodiscard]] std::optional<double> published_figure(StatementKind kind) const {
    const plan::PublishedFigures& b = baseline().published;
    const plan::PublishedFigures& m = method().published;
    if (kind == StatementKind::tpot_ratio && b.tpot && m.tpot) return ratio(*b.tpot, *m.tpot);
    if (kind == StatementKind::tps_ratio && b.tps && m.tps) return *m.tps / *b.tps;
    if (kind == StatementKind::per_gpu && b.tps && m.tps && !pairs_.empty()) {
      const Pair& any = pairs_.front();
      return *m.tps / *b.tps * static_cast<double>(baseline_of(any).ranks) / static_cast<double>(method_of(any).ranks);
    }
    return std::nullopt;
  }

  void judge_ratio(StatementResult& row) const {
    std::vector<Judged> all, agreeing, best;
    for (const Pair& pair : pairs_) all.push_back(figure(pair, row.statement.kind));
    for (const Pair& pair : result_.agreeing) agreeing.push_back(figure(pair, row.statement.kind));
    for (const SettlementResult& s : result_.by_settlement)
      if (s.agreeing > 0) best.push_back(figure({s.settlement, *s.baseline_best, *s.method_best}, row.statement.kind));
    row.all = tally_of(all, row.statement.at_least);
    row.agreeing = tally_of(agreeing, row.statement.at_least);
    row.best_run = tally_of(best, row.statement.at_least);
  }

  /// Settlement and own choices of the method, of all agreeing combinations.
  [[nodiscard]] std::set<std::pair<std::size_t, std::size_t>> agreeing_methods() const {
    std::set<std::pair<std::size_t, std::size_t>> methods;
    for (const Pair& pair : result_.agreeing) methods.insert({pair.settlement, pair.method});
    return methods;
  }

  void judge_hidden(StatementResult& row) const {
    std::vector<Judged> all, agreeing;
    for (const Outcome& outcome : method().outcomes)
      if (outcome.ran()) all.push_back(hidden_share(outcome.sample));
    for (const auto& [s, m] : agreeing_methods()) agreeing.push_back(hidden_share(method().at(s, m).sample));
    row.all = tally_of(all, row.statement.at_least);
    row.agreeing = tally_of(agreeing, row.statement.at_least);
  }

  void judge_scaling(StatementResult& row, const SeriesSamples& series) const {
    std::vector<Combination> choices;
    for (const auto& [s, m] : agreeing_methods())
      choices.push_back(matching_.join(1, result_.settlements[s], method().own[m]));
    const std::vector<Outcome> first = series(0, choices);
    const std::vector<Outcome> last = series(spec_.series.size() - 1, choices);
    std::vector<Judged> agreeing;
    for (std::size_t i = 0; i < choices.size(); ++i)
      if (first[i].ran() && last[i].ran())
        agreeing.push_back(ratio_of(last[i].sample, first[i].sample, StatementKind::scaling, errors_));
    row.agreeing = tally_of(agreeing, row.statement.at_least);
  }

  const AuditSpec& spec_;
  const Matching& matching_;
  const ModelErrors& errors_;
  AuditResult& result_;
  std::vector<Pair> pairs_;
  std::set<Key> agreeing_;
};

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::contradicted: return "contradicted";
    case Verdict::open: return "open";
    case Verdict::fails: return "fails";
    case Verdict::as_run: return "as_run";
    case Verdict::holds: return "holds";
    case Verdict::ambiguous: return "ambiguous";
  }
  return "";
}

bool agrees(const Sample& sample, const plan::PublishedFigures& published, const ModelErrors& errors) {
  const double h = explain::relative_error(sample.path_shares, errors);
  const auto meet = [](const explain::Span& a, const explain::Span& b) { return a.low <= b.high && b.low <= a.high; };
  if (published.tps) {
    // Of TPS the factors are those of TPOT turned round.
    const double half = published.rounding(*published.tps);
    const explain::Span rounded{1 / (*published.tps + half), 1 / (*published.tps - half)};
    if (!meet(explain::span_of(1 / sample.metrics.tps, h), rounded)) return false;
  }
  if (!published.tpot) return true;
  const double half = published.rounding(published.tpot->value());
  return meet(explain::span_of(tpot(sample), h), {published.tpot->value() - half, published.tpot->value() + half});
}

double distance(const Sample& sample, const plan::PublishedFigures& published) {
  double worst = 0;
  if (published.tps) worst = std::max(worst, std::abs(sample.metrics.tps / *published.tps - 1));
  if (published.tpot) worst = std::max(worst, std::abs(ratio(sample.metrics.tpot.mean, *published.tpot) - 1));
  return worst;
}

AuditResult audit(const AuditSpec& spec, const Matching& matching, Swept baseline, Swept method,
                  const ModelErrors& errors, const SeriesSamples& series) {
  AuditResult result;
  result.shared = matching.shared();
  result.settlements = all_combinations(matching.shared(), baseline.outcomes.size());
  result.baseline = std::move(baseline);
  result.method = std::move(method);
  Auditor auditor(spec, matching, errors, result);
  auditor.pair_up();
  auditor.settle();
  auditor.options();
  auditor.judge(series);
  return result;
}

}  // namespace foretoken::planning
