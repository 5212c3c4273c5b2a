// Reading JSON once, strictly, into valid values.
//
// A JsonDocument is a parsed file (or a string) plus the overrides made by --set. A JsonReader is a place in it; its
// accessors either return a value within the stated bounds or throw an Error that names file, JSON pointer, what was
// found and what would be right. A JsonObject hands out members and, in finish(), rejects every key nobody asked for.
// Nothing that got past here is checked again deeper inside.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/units.hpp"

namespace foretoken {

class JsonReader;

/// One parsed JSON text. Cheap to copy; readers keep it alive.
class JsonDocument {
 public:
  /// @throws Error{invalid_input} if the file is missing, unreadable, over 64 MiB, nested deeper than 64 levels, not
  ///         JSON (line and column named), or has a duplicate key.
  static JsonDocument from_file(const std::filesystem::path& path);
  /// Like from_file; `name` stands for the file in errors.
  static JsonDocument from_text(std::string_view text, std::string name);

  /// Replaces or adds the value at a dotted path: `deployment.micro_batches=8`. The right side is read as JSON where it
  /// parses as JSON and as a string otherwise; array elements are addressed by index.
  /// @throws Error{invalid_input} if there is no '=' or the path runs through a value that has no members.
  void set(std::string_view assignment);

  [[nodiscard]] JsonReader root() const;
  [[nodiscard]] const std::string& name() const;
  [[nodiscard]] const nlohmann::json& json() const;
  /// The directory that relative paths in this document start from.
  [[nodiscard]] std::filesystem::path directory() const;

 private:
  friend class JsonReader;
  struct Data;
  std::shared_ptr<Data> data_;
};

/// A place in a document.
class JsonReader {
 public:
  [[nodiscard]] bool is_object() const;
  [[nodiscard]] bool is_array() const;
  [[nodiscard]] bool is_string() const;
  [[nodiscard]] bool is_number() const;
  [[nodiscard]] const nlohmann::json& json() const { return *value_; }
  [[nodiscard]] const std::string& pointer() const { return pointer_; }
  /// The directory that relative paths in this document start from.
  [[nodiscard]] std::filesystem::path directory() const;

  /// A whole number in [min, max].
  [[nodiscard]] std::int64_t as_integer(std::int64_t min, std::int64_t max) const;
  /// A finite number in [min, max].
  [[nodiscard]] double as_number(double min, double max) const;
  [[nodiscard]] bool as_bool() const;
  /// A string of at most 4096 bytes; empty only if allowed.
  [[nodiscard]] std::string as_string(bool may_be_empty = false) const;
  /// Quantities in text with a unit, within [min, max].
  [[nodiscard]] Bytes as_bytes(Bytes min, Bytes max) const;
  [[nodiscard]] BytesPerSecond as_bandwidth(BytesPerSecond min, BytesPerSecond max) const;
  [[nodiscard]] Seconds as_duration(Seconds min, Seconds max) const;
  [[nodiscard]] FlopsPerSecond as_flop_rate(FlopsPerSecond min, FlopsPerSecond max) const;
  /// A share written as a percentage, "10 %" for 0.1, within [min, max].
  [[nodiscard]] double as_share(double min, double max) const;

  /// One of a fixed set of names; the error lists them and proposes the nearest.
  template <class Enum, std::size_t N>
  [[nodiscard]] Enum as_enum(const std::array<std::pair<Enum, std::string_view>, N>& names) const {
    std::vector<std::string_view> options;
    options.reserve(N);
    for (const auto& entry : names) options.push_back(entry.second);
    return names[option_index(options)].first;
  }

  /// Elements of an array with size in [min, max].
  [[nodiscard]] std::vector<JsonReader> as_array(std::size_t min, std::size_t max) const;
  /// Numbers of an array with size in [min, max], each finite and within [low, high].
  [[nodiscard]] std::vector<double> as_numbers(std::size_t min, std::size_t max, double low, double high) const;
  [[nodiscard]] std::vector<std::int64_t> as_integers(std::size_t min, std::size_t max, std::int64_t low,
                                                      std::int64_t high) const;

  /// Throws the Error for this place.
  [[noreturn]] void fail(std::string_view found, std::string_view expected) const;
  /// The Error for this place, for callers that add context.
  [[nodiscard]] Error error(std::string_view found, std::string_view expected) const;
  /// The value as short JSON text, for messages.
  [[nodiscard]] std::string shown() const;

 private:
  friend class JsonDocument;
  friend class JsonObject;
  JsonReader(std::shared_ptr<const JsonDocument::Data> document, const nlohmann::json* value, std::string pointer)
      : document_(std::move(document)), value_(value), pointer_(std::move(pointer)) {}
  [[nodiscard]] std::size_t option_index(std::span<const std::string_view> options) const;

  std::shared_ptr<const JsonDocument::Data> document_;
  const nlohmann::json* value_;
  std::string pointer_;
};

/// The members of an object, each to be asked for by name; finish() rejects the rest.
class JsonObject {
 public:
  /// @throws Error{invalid_input} if the place does not hold an object.
  explicit JsonObject(JsonReader place);

  /// @throws Error{invalid_input} if the member is missing.
  [[nodiscard]] JsonReader require(std::string_view key);
  [[nodiscard]] std::optional<JsonReader> optional(std::string_view key);
  [[nodiscard]] bool has(std::string_view key) const;
  [[nodiscard]] const JsonReader& place() const { return place_; }
  /// Every key that is present, in file order of nlohmann::json (sorted). Marks them all as known.
  [[nodiscard]] std::vector<std::pair<std::string, JsonReader>> members();
  /// @throws Error{invalid_input} on the first key that nobody asked for, proposing the nearest known one.
  void finish() const;

 private:
  JsonReader place_;
  std::set<std::string, std::less<>> known_;
};

/// The entry of `options` nearest to `word` by edit distance, or "" if none is near.
std::string nearest_word(std::string_view word, std::span<const std::string_view> options);

}  // namespace foretoken
