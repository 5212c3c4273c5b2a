#include "tools/predict/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.hpp"
#include "core/schema_header.hpp"
#include "tools/predict/answer.hpp"
#include "tools/predict/serving.hpp"

namespace foretoken::predict {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> families_in(const fs::path& folder) {
  std::error_code status;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder, status))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  if (files.empty())
    throw input_error(folder.string(), "", "is no folder with cases", "name a folder of *.jsonl files, one per family");
  std::sort(files.begin(), files.end());
  return files;
}

Answer answer_of(const std::string& text, const std::string& where, Predictor& predictor) {
  const JsonDocument document = JsonDocument::from_text(text, where);
  Answer answer;
  answer.where = where;
  answer.line = nlohmann::ordered_json::parse(text);
  JsonObject line(document.root());
  static_cast<void>(line.require("source").as_string());
  if (line.has("serving")) {
    const ServingCase serving = read_serving_case(document.root());
    try {
      answer.estimate = predict_serving(serving, predictor);
    } catch (const Error& error) {  // of an op that the case comes down to
      throw Error(error.code(), fmt::format("{}#/serving: {}", where, error.what()));
    }
    return answer;
  }
  answer.op = read_op(document.root());
  answer.estimate = predictor(*answer.op);
  return answer;
}

void add_family(const fs::path& file, Predictor& predictor, Score& score) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw input_error(file.string(), "", "cannot be read", "check its permissions");
  std::string text;
  for (std::int64_t number = 1; std::getline(in, text); ++number) {
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    Answer answer = answer_of(text, fmt::format("{}:{}", file.string(), number), predictor);
    answer.line["family"] = file.stem().string();
    score.add(answer, predictor);
  }
}

FamilyDrift drift_of(const FamilyScore& score, const std::optional<AcceptedAccuracy>& accepted) {
  FamilyDrift family{score, std::nullopt, Drift::unknown};
  if (!accepted) return family;
  const auto found = accepted->median_abs.find(score.family.front());
  if (found == accepted->median_abs.end()) return family;
  family.accepted = found->second;
  const double more = score.median_abs - found->second;
  family.drift = Drift::none;
  if (more > accepted->margin) family.drift = Drift::worse;
  if (more < -accepted->margin) family.drift = Drift::better;
  return family;
}

}  // namespace

AcceptedAccuracy read_accepted(const JsonDocument& document) {
  JsonObject root(document.root());
  static_cast<void>(read_schema_header(root, "accepted_accuracy", 1));
  if (const auto about = root.optional("about")) static_cast<void>(about->as_string(true));
  AcceptedAccuracy accepted;
  accepted.margin = root.require("margin").as_share(0, 1);
  JsonObject families(root.require("median_abs"));
  for (const auto& [name, value] : families.members()) accepted.median_abs[name] = value.as_share(0, 100);
  root.finish();
  return accepted;
}

std::string_view name_of(Drift drift) {
  constexpr std::array<std::string_view, 4> names{"none", "better", "worse", "unknown"};
  return names[static_cast<std::size_t>(drift)];
}

bool SuiteResult::passes() const {
  return missing.empty() && std::none_of(families.begin(), families.end(),
                                         [](const FamilyDrift& family) { return family.drift == Drift::worse; });
}

SuiteResult run_suite(const fs::path& folder, Predictor& predictor, const std::optional<AcceptedAccuracy>& accepted) {
  Score score({"family"});
  for (const fs::path& file : families_in(folder)) add_family(file, predictor, score);
  const ScoreTable table = score.table();
  if (table.all.rows == 0)
    throw input_error(folder.string(), "", "its files have no cases", "write one a line; scenarios/README.md says how");
  SuiteResult result;
  result.all = table.all;
  for (const FamilyScore& family : table.families) result.families.push_back(drift_of(family, accepted));
  if (!accepted) return result;
  result.margin = accepted->margin;
  for (const auto& [name, median] : accepted->median_abs)
    if (std::none_of(table.families.begin(), table.families.end(),
                     [&, known = name](const FamilyScore& family) { return family.family.front() == known; }))
      result.missing.push_back(name);
  return result;
}

std::string suite_text(const SuiteResult& result) {
  const auto file_line = [](const std::string& where) { return where.substr(where.rfind('/') + 1); };
  std::string text = "error = predicted / measured - 1; negative: predicted too fast\n\n";
  text += fmt::format("{:<18}{:>7}{:>10}{:>14}{:>12}{:>12}{:>20}   {}\n", "family", "cases", "median", "median abs.",
                      "p90 abs.", "worst", "in 90 % interval", "accepted median abs.");
  const auto line = [&](const std::string& name, const FamilyScore& score, const std::string& accepted) {
    const std::string covered =
        score.with_interval == 0 ? "-" : fmt::format("{} of {}", score.covered, score.with_interval);
    text += fmt::format("{:<18}{:>7}{:>+8.1f} %{:>12.1f} %{:>10.1f} %{:>+10.1f} %{:>20}   {}\n", name, score.rows,
                        100 * score.median, 100 * score.median_abs, 100 * score.p90_abs, 100 * score.worst, covered,
                        accepted);
  };
  for (const FamilyDrift& family : result.families) {
    std::string accepted = "-";
    if (family.accepted) accepted = fmt::format("{:.1f} %", 100 * *family.accepted);
    if (family.drift == Drift::worse) accepted += "  WORSE";
    if (family.drift == Drift::better) accepted += "  better";
    line(family.score.family.front(), family.score, accepted);
  }
  line("all", result.all, "");
  text += "\nworst cases:";
  for (const FamilyDrift& family : result.families) text += "  " + file_line(family.score.worst_where);
  text += "\n";
  for (const std::string& name : result.missing)
    text += fmt::format("{}: was accepted, and has no cases any more\n", name);
  return text;
}

nlohmann::ordered_json suite_json(const SuiteResult& result) {
  using Json = nlohmann::ordered_json;
  const auto score_of = [](const FamilyScore& score) {
    return Json{{"cases", score.rows},
                {"median_error", score.median},
                {"median_abs_error", score.median_abs},
                {"p90_abs_error", score.p90_abs},
                {"worst_error", score.worst},
                {"worst_case", score.worst_where},
                {"cases_with_interval", score.with_interval},
                {"cases_in_interval", score.covered}};
  };
  Json json{{"schema_version", 1}, {"kind", "suite"}, {"margin", result.margin}, {"passes", result.passes()}};
  json["families"] = Json::array();
  for (const FamilyDrift& family : result.families) {
    Json entry{{"family", family.score.family.front()}};
    entry.update(score_of(family.score));
    if (family.accepted) entry["accepted_median_abs"] = *family.accepted;
    entry["drift"] = name_of(family.drift);
    json["families"].push_back(std::move(entry));
  }
  json["all"] = score_of(result.all);
  json["missing"] = result.missing;
  return json;
}

}  // namespace foretoken::predict
