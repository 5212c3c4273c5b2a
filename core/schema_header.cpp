#include "core/schema_header.hpp"

#include <fmt/format.h>

namespace foretoken {

std::int64_t read_schema_header(JsonObject& root, std::string_view kind, std::int64_t newest) {
  if (const auto schema = root.optional("$schema")) static_cast<void>(schema->as_string());
  if (!root.has("kind"))
    root.place().fail("the key \"kind\" is missing",
                      fmt::format("add it if this is a file of kind \"{}\": such a file is wanted here", kind));
  const JsonReader found = root.require("kind");
  if (found.as_string() != kind)
    found.fail(fmt::format("this is a file of kind {}", found.shown()),
               fmt::format("a file of kind \"{}\" is wanted here", kind));
  const JsonReader version = root.require("schema_version");
  const std::int64_t number = version.as_integer(1, 1'000'000);
  if (number > newest)
    version.fail(fmt::format("schema_version {} is newer than this program", number),
                 fmt::format("it reads up to {}: update foretoken, or write the file for {}", newest, newest));
  return number;
}

}  // namespace foretoken
