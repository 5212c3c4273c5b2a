// The published suite: cases that other people measured, by family, each held against its prediction; and a gate
// against drift.
//
// A folder of *.jsonl files. A file is a family, named for it; a line is an op (tools/predict/op_line.hpp) or a serving
// case (tools/predict/serving.hpp) with `measured_us` and `source`.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json_reader.hpp"
#include "tools/predict/predictor.hpp"
#include "tools/predict/score.hpp"

namespace foretoken::predict {

/// What the suite was when somebody last looked at it and accepted it.
struct AcceptedAccuracy {
  double margin = 0;                         // by how much a median may be larger before the gate fails
  std::map<std::string, double> median_abs;  // by family
};

/// Reads a file of kind "accepted_accuracy": shares in percent, "3.1 %".
/// @throws Error{invalid_input}
AcceptedAccuracy read_accepted(const JsonDocument& document);

enum class Drift : std::uint8_t { none, better, worse, unknown };  // beyond the margin; unknown: nothing was accepted
std::string_view name_of(Drift drift);

struct FamilyDrift {
  FamilyScore score;
  std::optional<double> accepted;  // median of |error|
  Drift drift = Drift::unknown;
};

struct SuiteResult {
  std::vector<FamilyDrift> families;  // in order of names
  FamilyScore all;
  double margin = 0;
  std::vector<std::string> missing;  // families that were accepted and have no file any more: they count as worse

  [[nodiscard]] bool passes() const;
};

/// @throws Error{invalid_input} naming file and line for a case that cannot be predicted or has no source, or if the
///         folder has none
SuiteResult run_suite(const std::filesystem::path& folder, Predictor& predictor,
                      const std::optional<AcceptedAccuracy>& accepted);

std::string suite_text(const SuiteResult& result);
nlohmann::ordered_json suite_json(const SuiteResult& result);

}  // namespace foretoken::predict
