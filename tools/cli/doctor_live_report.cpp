#include "tools/cli/doctor_live_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kNamedRanks = 4;

std::vector<std::int32_t> numbers_of(const std::vector<RankId>& ranks) {
  std::vector<std::int32_t> numbers;
  for (const RankId rank : ranks) numbers.push_back(rank.value());
  return numbers;
}

std::string ranks_text(const std::vector<RankId>& ranks) {
  const std::vector<std::int32_t> numbers = numbers_of(ranks);
  if (numbers.size() <= kNamedRanks) return fmt::format("{}", fmt::join(numbers, ","));
  return fmt::format("{},..,{} ({})", numbers.front(), numbers.back(), numbers.size());
}

// Of one kind the outliers, and beside them the best and the worst.
std::vector<const LiveCheck*> shown_of(const std::vector<const LiveCheck*>& kind) {
  const auto worse = [](const LiveCheck* a, const LiveCheck* b) {
    return a->beside(a->typical) < b->beside(b->typical);
  };
  const auto [worst, best] = std::minmax_element(kind.begin(), kind.end(), worse);
  std::vector<const LiveCheck*> shown;
  for (const LiveCheck* check : kind)
    if (check->outlier || check == *worst || check == *best) shown.push_back(check);
  return shown;
}

std::string table_of(const std::vector<LiveCheck>& checks) {
  std::string text = fmt::format("{:<48} {:>14} {:>14} {:>14} {:>7} {:>12}\n", "", "ranks", "reached", "peers",
                                 "beside", "calibration");
  for (std::size_t begin = 0; begin < checks.size();) {
    std::vector<const LiveCheck*> kind;
    std::size_t end = begin;
    for (; end < checks.size() && checks[end].what == checks[begin].what; ++end) kind.push_back(&checks[end]);
    for (const LiveCheck* check : shown_of(kind))
      text += fmt::format(
          "{:<48} {:>14} {:>14} {:>14} {:>6.0f}% {:>12}{}\n",
          check == kind.front() || kind.size() == 1 ? check->what : fmt::format("{} (of {})", check->what, kind.size()),
          ranks_text(check->ranks), amount_text(check->reached, check->unit), amount_text(check->typical, check->unit),
          100 * check->beside(check->typical),
          check->expected ? fmt::format("{:.0f}%", 100 * check->beside(*check->expected)) : "-",
          check->outlier ? "  <" : "");
    begin = end;
  }
  return text;
}

Json known_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json gpus_json(const std::vector<runtime::GpuPlace>& gpus) {
  Json json = Json::array();
  for (const runtime::GpuPlace& gpu : gpus)
    json.push_back({{"index", gpu.index},
                    {"name", gpu.name},
                    {"pci", gpu.pci},
                    {"nic", known_or_null(gpu.nic)},
                    {"conditions", known_or_null(gpu.conditions)}});
  return json;
}

// "16 x NVIDIA H100 80GB HBM3".
std::string names_of(const std::vector<runtime::GpuPlace>& gpus) {
  std::map<std::string, int> counts;
  for (const runtime::GpuPlace& gpu : gpus) ++counts[gpu.name];
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", count, name);
  return text;
}

}  // namespace

std::string live_diagnosis_text(const LiveDiagnosis& diagnosis, const LiveConditions& conditions) {
  const runtime::HealthReadings& readings = diagnosis.readings;
  std::string text = fmt::format("{} ranks on {} node{} by {}{}{}\n\n", readings.node_of_rank.size(),
                                 readings.hosts.size(), readings.hosts.size() == 1 ? "" : "s", conditions.communicator,
                                 conditions.topology.empty() ? "" : ", topology " + conditions.topology,
                                 conditions.calibration.empty() ? "" : ", calibration " + conditions.calibration);
  if (!readings.gpus.empty())
    text.insert(text.size() - 1, fmt::format("Each rank is a GPU: {}\n", names_of(readings.gpus)));
  text += table_of(diagnosis.checks);
  text += fmt::format("\n<: {}\n\n", runtime::text_of(diagnosis.rule));
  if (diagnosis.findings.empty())
    return text + (readings.interrupted ? "Nothing that was measured looks wrong.\n" : "Nothing looks wrong.\n");
  for (const LiveFinding& finding : diagnosis.findings)
    text += fmt::format("suspicious: {}\n    evidence: {}\n    likely:   {}\n", finding.what, finding.evidence,
                        finding.likely);
  return text;
}

Json live_diagnosis_json(const LiveDiagnosis& diagnosis, const LiveConditions& conditions) {
  const runtime::HealthReadings& readings = diagnosis.readings;
  Json json{{"schema_version", 1},
            {"kind", "live_diagnosis"},
            {"foretoken", {{"version", std::string(version())}, {"commit", std::string(commit())}}},
            {"communicator", conditions.communicator},
            {"scenario", known_or_null(conditions.scenario)},
            {"topology", known_or_null(conditions.topology)},
            {"calibration", known_or_null(conditions.calibration)},
            {"hosts", readings.hosts},
            {"node_of_rank", readings.node_of_rank},
            {"interrupted", readings.interrupted},
            {"rule",
             {{"tolerance", diagnosis.rule.tolerance},
              {"deviations", diagnosis.rule.deviations},
              {"calibration_tolerance", kCalibrationTolerance}}},
            {"checks", Json::array()},
            {"findings", Json::array()}};
  if (!readings.gpus.empty()) json["gpus"] = gpus_json(readings.gpus);
  for (const LiveCheck& check : diagnosis.checks) {
    const auto beside = check.expected ? Json(check.beside(*check.expected)) : Json(nullptr);
    json["checks"].push_back({{"what", check.what},
                              {"ranks", numbers_of(check.ranks)},
                              {"unit", check.unit},
                              {"reached", check.reached},
                              {"peers_median", check.typical},
                              {"beside_peers", check.beside(check.typical)},
                              {"calibration", check.expected ? Json(*check.expected) : Json(nullptr)},
                              {"beside_calibration", beside},
                              {"outlier", check.outlier}});
  }
  for (const LiveFinding& finding : diagnosis.findings)
    json["findings"].push_back({{"what", finding.what},
                                {"evidence", finding.evidence},
                                {"likely", finding.likely},
                                {"nodes", finding.nodes},
                                {"ranks", numbers_of(finding.ranks)},
                                {"link", known_or_null(finding.link)}});
  return json;
}

}  // namespace foretoken::cli
