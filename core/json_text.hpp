// JSON as text that people can diff: objects indented, lists of numbers filled into lines.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace foretoken {

/// The same value gives the same bytes; keys come in sorted order; ends with a newline.
std::string readable_json(const nlohmann::json& value);

}  // namespace foretoken
