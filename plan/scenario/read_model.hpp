// The `model` of a scenario: in its own words, or by the name of a file that describes one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/json_reader.hpp"
#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

/// A model in our own words (scenario.schema.json#/definitions/model).
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
ModelSpec read_model(const JsonReader& place);

/// A file of kind "model": a description of ours with its source (scenarios/models/).
/// @throws Error{invalid_input} as read_model, and if the file is missing or of another kind
ModelSpec read_model_file(const JsonDocument& document);

/// The model of a scenario: in our own words, or
///   {"file": "models/x.json", "top_k": 4}     one of our descriptions
///   {"hf": "x/config.json", "dtype": {...}}   a Hugging Face config (plan/scenario/hf_config.hpp)
/// Paths start from the scenario's folder. Members beside the file's name replace what it says; a null removes it.
/// @param scenario  its name, for messages
/// @throws Error{invalid_input} as read_model and as the reader of the file
ModelSpec read_scenario_model(const JsonReader& place, const std::string& scenario);

/// In our own words, as read_model takes it.
nlohmann::json to_json(const ModelSpec& model);

}  // namespace foretoken::plan
