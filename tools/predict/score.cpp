#include "tools/predict/score.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"

namespace foretoken::predict {
namespace {

std::string value_of(const Answer& answer, const Predictor& predictor, const std::string& key) {
  if (key == "op") return answer.op->op;
  if (key == "dtype") return std::string(name_of(answer.op->dtype));
  if (key == "framework") {
    const std::string framework = predictor.framework_of(*answer.op);
    if (!framework.empty()) return framework;
  }
  const auto member = answer.line.find(key);
  if (member == answer.line.end()) return "-";
  return member->is_string() ? member->get<std::string>() : member->dump();
}

Seconds measured(const Answer& answer) {
  const auto member = answer.line.find("measured_us");
  const auto fail = [&](const std::string& found) {
    throw input_error(answer.where, "/measured_us", found, "write what was measured, in microseconds");
  };
  if (member == answer.line.end()) throw input_error(answer.where, "", "the key \"measured_us\" is missing", "add it");
  if (!member->is_number()) fail(fmt::format("{} is not a number", member->dump()));
  const double us = member->get<double>();
  constexpr double longest = 1e15;
  if (!(us > 0 && us <= longest)) fail(fmt::format("{} is out of range", member->dump()));
  return Seconds(us * 1e-6);
}

// Smallest value with at least this share at or below it. Of sorted values, not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

template <class Rows>
FamilyScore score_of(const Rows& rows) {
  FamilyScore score;
  std::vector<double> errors;
  std::vector<double> sizes;
  for (const auto* row : rows) {
    errors.push_back(row->error);
    sizes.push_back(std::abs(row->error));
    if (score.rows++ == 0 || std::abs(row->error) > std::abs(score.worst)) {
      score.worst = row->error;
      score.worst_where = row->where;
    }
    score.with_interval += row->with_interval ? 1 : 0;
    score.covered += row->covered ? 1 : 0;
  }
  if (errors.empty()) return score;
  std::sort(errors.begin(), errors.end());
  std::sort(sizes.begin(), sizes.end());
  score.median = quantile(errors, 0.5);
  score.median_abs = quantile(sizes, 0.5);
  score.p90_abs = quantile(sizes, 0.9);
  return score;
}

std::string coverage_text(const FamilyScore& score) {
  if (score.with_interval == 0) return "-";
  const double share = static_cast<double>(score.covered) / static_cast<double>(score.with_interval);
  return fmt::format("{:.1f} % of {}", 100 * share, score.with_interval);
}

}  // namespace

Score::Score(std::vector<std::string> by) : by_(std::move(by)) {}

void Score::add(const Answer& answer, const Predictor& predictor) {
  const Seconds truth = measured(answer);
  if (!(answer.estimate->time > Seconds(0)))
    throw input_error(answer.where, "", "the op takes no time by prediction, and some by measurement",
                      "leave it out: an error relative to nothing says nothing");
  Row row;
  for (const std::string& key : by_) row.family.push_back(value_of(answer, predictor, key));
  row.error = ratio(answer.estimate->time, truth) - 1;
  row.where = answer.where;
  const auto interval = interval_of(*answer.estimate);
  row.with_interval = interval.has_value();
  row.covered = interval && interval->holds(truth);
  rows_.push_back(std::move(row));
}

ScoreTable Score::table() const {
  std::map<std::vector<std::string>, std::vector<const Row*>> families;
  std::vector<const Row*> all;
  for (const Row& row : rows_) {
    families[row.family].push_back(&row);
    all.push_back(&row);
  }
  ScoreTable table{by_, {}, score_of(all)};
  for (const auto& [family, rows] : families) {
    table.families.push_back(score_of(rows));
    table.families.back().family = family;
  }
  return table;
}

std::string score_text(const ScoreTable& table) {
  std::vector<std::vector<std::string>> lines{table.by};
  for (std::string& heading : lines.front()) std::replace(heading.begin(), heading.end(), '_', ' ');
  const std::vector<std::string> headings{"rows", "median", "median abs.", "p90 abs.", "worst", "in 90 % interval"};
  lines.front().insert(lines.front().end(), headings.begin(), headings.end());
  const auto add = [&](std::vector<std::string> line, const FamilyScore& score) {
    line.push_back(fmt::format("{}", score.rows));
    line.push_back(fmt::format("{:+.1f} %", 100 * score.median));
    line.push_back(fmt::format("{:.1f} %", 100 * score.median_abs));
    line.push_back(fmt::format("{:.1f} %", 100 * score.p90_abs));
    line.push_back(fmt::format("{:+.1f} % ({})", 100 * score.worst, score.worst_where));
    line.push_back(coverage_text(score));
    lines.push_back(std::move(line));
  };
  for (const FamilyScore& score : table.families) add(score.family, score);
  if (table.families.size() > 1 && !table.by.empty()) {
    std::vector<std::string> all(table.by.size());
    all.front() = "all";
    add(std::move(all), table.all);
  }
  std::vector<std::size_t> width(lines.front().size());
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  std::string text = "error = predicted / measured - 1; negative: predicted too fast\n\n";
  for (const auto& line : lines) {
    std::string shown;
    // Names to the left, numbers to the right.
    for (std::size_t i = 0; i < line.size(); ++i)
      shown +=
          i < table.by.size() ? fmt::format("{:<{}}  ", line[i], width[i]) : fmt::format("{:>{}}  ", line[i], width[i]);
    shown.erase(shown.find_last_not_of(' ') + 1);
    text += shown + "\n";
  }
  return text;
}

nlohmann::ordered_json score_json(const ScoreTable& table) {
  using Json = nlohmann::ordered_json;
  const auto score_of_family = [](const FamilyScore& score) {
    Json json;
    json["rows"] = score.rows;
    json["median_error"] = score.median;
    json["median_abs_error"] = score.median_abs;
    json["p90_abs_error"] = score.p90_abs;
    json["worst_error"] = score.worst;
    json["worst_line"] = score.worst_where;
    json["rows_with_interval"] = score.with_interval;
    json["rows_in_interval"] = score.covered;
    return json;
  };
  Json json;
  json["schema_version"] = 1;
  json["kind"] = "score";
  json["by"] = table.by;
  json["families"] = Json::array();
  for (const FamilyScore& score : table.families) {
    Json family;
    for (std::size_t i = 0; i < table.by.size(); ++i) family[table.by[i]] = score.family[i];
    Json entry;
    entry["family"] = std::move(family);
    entry.update(score_of_family(score));
    json["families"].push_back(std::move(entry));
  }
  json["all"] = score_of_family(table.all);
  return json;
}

}  // namespace foretoken::predict
