// The JSON Schemas of our file formats, compiled in: tools/cmake/schemas.cmake lists them.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace foretoken::cli {

/// "scenario", "topology", "device", …: every name that schema_text() knows, in the order of `foretoken schema --help`.
std::vector<std::string_view> schema_names();

/// The schema file of that name, byte for byte; nothing if there is none.
std::optional<std::string_view> schema_text(std::string_view name);

}  // namespace foretoken::cli
