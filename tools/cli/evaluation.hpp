// What commands that simulate many variants of a scenario have in common: how, and with what at hand.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/json_reader.hpp"
#include "sim/simulate.hpp"
#include "tools/planning/evaluator.hpp"

namespace foretoken::cli {

struct EvaluationOptions {
  std::filesystem::path topology;               // --topology: instead of the scenario's
  std::filesystem::path calibration;            // --calibration: instead of the topology's
  std::filesystem::path errors;                 // --errors: how far the calibration is off; empty: as shipped with it
  std::string framework;                        // --framework: whose kernels; empty for the calibration's default
  double accuracy = 0;                          // --accuracy: of sharing links; 0: exact
  double time_limit = sim::kSharingSecondsMax;  // --time-limit: of sharing links, seconds
};

std::unique_ptr<planning::Evaluator> make_evaluator(const JsonDocument& scenario, const EvaluationOptions& options,
                                                    bool bounds = true);

/// As `compare` finds them: the given file, or by the calibration's name among those that are shipped; else nothing.
std::shared_ptr<const explain::ModelErrors> model_errors_of(const Calibration& calibration,
                                                            const EvaluationOptions& options);

/// The bytes of all files that evaluations of the scenario read, and the program's version: equal for equal answers.
std::string evaluation_identity(const JsonDocument& scenario, const EvaluationOptions& options);

/// The text of a file, or nothing if it cannot be read.
std::string file_text(const std::filesystem::path& file);

}  // namespace foretoken::cli
