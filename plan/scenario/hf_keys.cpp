#include "plan/scenario/hf_keys.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

namespace foretoken::plan {

std::string with_quoted_non_numbers(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    if (in_string) {
      if (text[i] == '\\' && i + 1 < text.size()) out += text[i++];
      else if (text[i] == '"') in_string = false;
      out += text[i++];
      continue;
    }
    std::size_t taken = 0;
    for (const std::string_view word : {"NaN", "Infinity", "-Infinity"})
      if (text.substr(i).starts_with(word)) taken = word.size();
    if (taken > 0) {
      out += fmt::format("\"{}\"", text.substr(i, taken));
      i += taken;
      continue;
    }
    in_string = text[i] == '"';
    out += text[i++];
  }
  return out;
}

HfKeys::HfKeys(const JsonDocument& document) : root_(document.root()) {
  JsonObject root(root_);
  const bool own = root.has("hidden_size") && !root.require("hidden_size").json().is_null();
  if (own) return;
  if (const auto text = root.optional("text_config"); text && !text->json().is_null()) {
    JsonObject checked(*text);
    text_ = checked.place();
  }
}

std::optional<JsonReader> HfKeys::optional(Names names) const {
  for (const std::string_view name : names) {
    for (const JsonReader* place : {text_ ? &*text_ : nullptr, &root_}) {
      if (place == nullptr) continue;
      JsonObject object(*place);
      if (const auto value = object.optional(name); value && !value->json().is_null()) return value;
    }
  }
  return std::nullopt;
}

JsonReader HfKeys::require(Names names) const {
  if (const auto found = optional(names)) return *found;
  const JsonReader& place = text_ ? *text_ : root_;
  if (names.size() == 1) place.fail(fmt::format("the key \"{}\" is missing", *names.begin()), "add it");
  place.fail(fmt::format("none of the keys \"{}\" is there", fmt::join(names, "\", \"")), "add one of them");
}

std::int64_t HfKeys::integer(Names names, std::int64_t min, std::int64_t max) const {
  return require(names).as_integer(min, max);
}

std::int64_t HfKeys::integer_or(Names names, std::int64_t min, std::int64_t max, std::int64_t otherwise) const {
  const auto found = optional(names);
  return found ? found->as_integer(min, max) : otherwise;
}

bool HfKeys::flag(Names names) const {
  const auto found = optional(names);
  return found && found->as_bool();
}

}  // namespace foretoken::plan
