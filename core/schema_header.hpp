// The members that every foretoken file begins with: "$schema", "schema_version" and "kind".
//
// Rule for versions: schema_version is one whole number per kind of file. A reader accepts the versions from 1 to its
// own; a change that an old file cannot mean the same under raises the number, and the reader then migrates the older
// JSON before it parses it. A newer file than the reader is an Error that says so.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/json_reader.hpp"

namespace foretoken {

/// Consumes "$schema" (ignored: it is for editors), "schema_version" and "kind".
/// @return the file's schema_version, from 1 to `newest`
/// @throws Error{invalid_input} if the kind differs or the version is newer
std::int64_t read_schema_header(JsonObject& root, std::string_view kind, std::int64_t newest);

}  // namespace foretoken
