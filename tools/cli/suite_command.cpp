// foretoken compare --suite: published measurements held against their predictions, and the gate against drift.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <string>
#include <system_error>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/version.hpp"
#include "tools/predict/suite.hpp"

namespace foretoken::cli {
namespace {

constexpr const char* kAccepted = "accepted.json";

void require_only_suite(const CompareOptions& options) {
  const auto refuse = [](const std::string& given) {
    throw input_error("--suite", "", fmt::format("{} is given too", given), "compare results, or score a suite");
  };
  if (!options.a.empty()) refuse(options.a.string());
  if (!options.fail_if.empty()) refuse("--fail-if");
  if (!options.errors.empty()) refuse("--errors");
  if (const char* option = needs_traces(options)) refuse(option);
}

std::string worse_families(const predict::SuiteResult& result) {
  std::string text;
  for (const predict::FamilyDrift& family : result.families)
    if (family.drift == predict::Drift::worse)
      text += fmt::format("{}{}: median {:.1f} %, accepted {:.1f} %", text.empty() ? "" : "; ",
                          family.score.family.front(), 100 * family.score.median_abs, 100 * *family.accepted);
  for (const std::string& name : result.missing)
    text += fmt::format("{}{}: no cases any more", text.empty() ? "" : "; ", name);
  return text;
}

}  // namespace

void run_suite(const CompareOptions& options, std::ostream& out, std::ostream&) {
  require_only_suite(options);
  constexpr const char* usual = "topologies/hgx-h100-2nodes-ndr400.json";
  const PredictOptions& machine = options.predict;
  predict::Predictor predictor(machine.topology.empty() ? shipped_file(usual) : machine.topology, machine.calibration,
                               machine.framework);
  std::optional<predict::AcceptedAccuracy> accepted;
  std::error_code status;
  if (options.gate || std::filesystem::is_regular_file(options.suite / kAccepted, status))
    accepted = predict::read_accepted(JsonDocument::from_file(options.suite / kAccepted));
  const predict::SuiteResult result = predict::run_suite(options.suite, predictor, accepted);
  if (options.json) {
    nlohmann::ordered_json json = predict::suite_json(result);
    json["machine"] = predictor.machine();
    json["calibration"] = predictor.calibration();
    json["foretoken"] = {{"version", std::string(version())}, {"commit", std::string(commit())}};
    out << json.dump(2) << "\n";
  } else {
    out << predict::suite_text(result);
  }
  if (options.gate && !result.passes())
    throw Error(
        ErrorCode::gate_failed,
        fmt::format("gate failed: by more than {:.1f} percentage points worse: {}. What improved elsewhere does "
                    "not make up for it",
                    100 * result.margin, worse_families(result)));
}

}  // namespace foretoken::cli
