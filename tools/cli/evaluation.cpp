#include "tools/cli/evaluation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/version.hpp"

namespace foretoken::cli {
namespace {

/// Of a file, and of the files that its members name.
std::string with_what_it_names(const std::filesystem::path& file, std::initializer_list<const char*> members) {
  std::string text = file_text(file);
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return text;
  for (const char* member : members)
    if (const auto named = json.find(member); named != json.end() && named->is_string())
      text += "\n" + file_text(file.parent_path() / named->get<std::string>());
  return text;
}

}  // namespace

std::shared_ptr<const explain::ModelErrors> model_errors_of(const Calibration& calibration,
                                                            const EvaluationOptions& options) {
  std::filesystem::path file = options.errors;
  if (file.empty()) {
    const std::string& name = calibration.name;
    const bool plain = !name.empty() && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '_';
    });
    if (!plain) return nullptr;
    try {
      file = shipped_file(std::filesystem::path("topologies/calibrations/errors") / (name + ".json"));
    } catch (const Error&) {
      return nullptr;
    }
  }
  return std::make_shared<const explain::ModelErrors>(explain::ModelErrors::read(JsonDocument::from_file(file)));
}

std::string file_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::unique_ptr<planning::Evaluator> make_evaluator(const JsonDocument& scenario, const EvaluationOptions& options,
                                                    bool bounds) {
  planning::Evaluator::Options evaluation;
  evaluation.topology = options.topology;
  evaluation.simulation.framework = options.framework;
  evaluation.simulation.accuracy = options.accuracy;
  evaluation.simulation.exchange_seconds_max = options.time_limit;
  evaluation.bounds = bounds;
  return std::make_unique<planning::Evaluator>(
      scenario, std::move(evaluation),
      [instead = options.calibration](const plan::Topology& topology, const std::filesystem::path& file) {
        return load_calibration(topology, file, instead);
      },
      [options](const Calibration& calibration) { return model_errors_of(calibration, options); });
}

std::string evaluation_identity(const JsonDocument& scenario, const EvaluationOptions& options) {
  std::string identity = fmt::format("{} {}\n{}\n{} {} {}\n", version(), commit(), scenario.json().dump(),
                                     options.framework, options.accuracy, options.time_limit);
  const nlohmann::json::json_pointer topology("/cluster/topology");
  if (!options.topology.empty()) identity += with_what_it_names(options.topology, {"device", "calibration"});
  else if (scenario.json().contains(topology) && scenario.json().at(topology).is_string())
    identity += with_what_it_names(scenario.directory() / scenario.json().at(topology).get<std::string>(),
                                   {"device", "calibration"});
  for (const char* path : {"/model/file", "/model/hf", "/routing/file"}) {
    const nlohmann::json::json_pointer place(path);
    if (!scenario.json().contains(place) || !scenario.json().at(place).is_string()) continue;
    const auto file = scenario.directory() / scenario.json().at(place).get<std::string>();
    identity += file_text(file) + file_text(file.parent_path() / "hf_quant_config.json");
  }
  if (!options.calibration.empty()) identity += file_text(options.calibration);
  if (!options.errors.empty()) identity += file_text(options.errors);
  return identity;
}

}  // namespace foretoken::cli
