// Keys of a Hugging Face config.json, found by any of their names.
#pragma once

#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/json_reader.hpp"

namespace foretoken::plan {

/// The text with bare NaN, Infinity and -Infinity, which some writers leave in, put in quotes: where such a value is
/// needed it is then refused like any text.
std::string with_quoted_non_numbers(std::string_view text);

/// A config with its nesting undone: what text_config says comes before what stands at the root. Nulls are no keys.
class HfKeys {
 public:
  using Names = std::initializer_list<std::string_view>;

  /// @throws Error{invalid_input} if the root or its text_config is no object
  explicit HfKeys(const JsonDocument& document);

  /// The value of the first of the names that is there.
  [[nodiscard]] std::optional<JsonReader> optional(Names names) const;
  /// @throws Error{invalid_input} naming all of them
  [[nodiscard]] JsonReader require(Names names) const;
  [[nodiscard]] std::int64_t integer(Names names, std::int64_t min, std::int64_t max) const;
  [[nodiscard]] std::int64_t integer_or(Names names, std::int64_t min, std::int64_t max, std::int64_t otherwise) const;
  [[nodiscard]] bool flag(Names names) const;
  [[nodiscard]] const JsonReader& root() const { return root_; }

 private:
  JsonReader root_;
  std::optional<JsonReader> text_;
};

}  // namespace foretoken::plan
