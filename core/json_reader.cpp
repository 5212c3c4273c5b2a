#include "core/json_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>
#include <system_error>

#include "core/quantity_text.hpp"

namespace foretoken {

using Json = nlohmann::json;

struct JsonDocument::Data {
  Json root;
  std::string name;
  std::filesystem::path directory;
  // Pointers replaced by --set, with the assignment as the user typed it: errors below them name it.
  std::vector<std::pair<std::string, std::string>> overrides;

  [[nodiscard]] std::string origin_of(const std::string& pointer) const {
    for (auto it = overrides.rbegin(); it != overrides.rend(); ++it) {
      const std::string& prefix = it->first;
      if (pointer == prefix || pointer.rfind(prefix + "/", 0) == 0)
        return fmt::format("--set {} ({})", it->second, name);
    }
    return name;
  }
};

namespace {

constexpr std::uintmax_t kFileBytesMax = 64u << 20;
constexpr int kDepthMax = 64;
constexpr std::size_t kStringBytesMax = 4096;
constexpr std::size_t kShownBytesMax = 80;
constexpr double kWholeDoubleMax = 9007199254740992.0;  // 2^53: beyond it a double may have been rounded

std::string escape_token(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') out += "~0";
    else if (c == '/') out += "~1";
    else out += c;
  }
  return out;
}

/// The value as JSON on one line, cut to a length that fits a message.
std::string shortened(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kShownBytesMax) return text;
  std::size_t end = kShownBytesMax - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a UTF-8 character
  return text.substr(0, end) + (value.is_string() ? "...\"" : "...");
}

std::string line_and_column(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte == 0 ? 0 : byte - 1, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto newline = before.rfind('\n');
  const auto column = 1 + (newline == std::string_view::npos ? before.size() : before.size() - newline - 1);
  return fmt::format("line {}, column {}", line, column);
}

/// Where the parser is, so that what it rejects can be named by its pointer.
class ParsePlace {
 public:
  /// @return false if the key was seen before in its object
  bool enter_key(const std::string& key) {
    open_.back().token = escape_token(key);
    return open_.back().keys.insert(key).second;
  }
  void open(bool is_array) { open_.push_back({is_array, {}, 0, is_array ? "0" : ""}); }
  void close() {
    open_.pop_back();
    count_element();
  }
  void count_element() {
    if (!open_.empty() && open_.back().is_array) open_.back().token = std::to_string(++open_.back().elements);
  }
  [[nodiscard]] std::string pointer() const {
    std::string text;
    for (const Level& level : open_) text += "/" + level.token;
    return text;
  }

 private:
  struct Level {
    bool is_array = false;
    std::set<std::string> keys;
    std::size_t elements = 0;
    std::string token;
  };
  std::vector<Level> open_;
};

Json parse_strictly(std::string_view text, const std::string& name) {
  ParsePlace place;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (depth > kDepthMax)
      throw input_error(name, "", fmt::format("nested deeper than {} levels", kDepthMax), "flatten the file");
    if (event == Event::object_start || event == Event::array_start) place.open(event == Event::array_start);
    if (event == Event::object_end || event == Event::array_end) place.close();
    if (event == Event::value) place.count_element();
    if (event == Event::key && !place.enter_key(parsed.get<std::string>()))
      throw input_error(name, place.pointer(), fmt::format("the key {} appears twice in one object", shortened(parsed)),
                        "keep one of them");
    return true;
  };
  try {
    Json parsed = Json::parse(text, watch);
    // The parser takes a NUL byte for the end of the text.
    if (const auto nul = text.find('\0'); nul != std::string_view::npos)
      throw input_error(name, "", fmt::format("not valid JSON at {} (a NUL byte)", line_and_column(text, nul + 1)),
                        "end the file there");
    return parsed;
  } catch (const Json::parse_error& error) {
    const bool ended = error.byte > text.size();
    throw input_error(
        name, "",
        fmt::format("not valid JSON at {}{}", line_and_column(text, error.byte),
                    ended ? " (the text ends too early)" : ""),
        ended ? "the file may be truncated" : "check quotes, commas and brackets there (JSON has no NaN, no comments)");
  } catch (const Json::out_of_range&) {
    // The one number that JSON can write and a double cannot hold.
    throw input_error(name, place.pointer(), "the number is too large", "write a number below 1e308");
  }
}

}  // namespace

JsonDocument JsonDocument::from_text(std::string_view text, std::string name) {
  JsonDocument document;
  document.data_ = std::make_shared<Data>();
  document.data_->root = parse_strictly(text, name);
  document.data_->name = std::move(name);
  return document;
}

JsonDocument JsonDocument::from_file(const std::filesystem::path& path) {
  std::error_code status;
  if (!std::filesystem::exists(path, status)) throw input_error(path.string(), "", "no such file", "check the path");
  if (!std::filesystem::is_regular_file(path, status))
    throw input_error(path.string(), "", "not a regular file", "name a JSON file");
  const auto size = std::filesystem::file_size(path, status);
  if (status || size > kFileBytesMax)
    throw input_error(path.string(), "", fmt::format("larger than {} MiB", kFileBytesMax >> 20),
                      "name a smaller JSON file");
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw input_error(path.string(), "", "cannot be read", "check its permissions");
  JsonDocument document = from_text(text.str(), path.string());
  document.data_->directory = path.parent_path();
  return document;
}

void JsonDocument::set(std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw input_error("--set " + std::string(assignment), "", "is not key=value",
                      "write for example --set deployment.micro_batches=8");
  const std::string_view path = assignment.substr(0, equals);
  const std::string_view text = assignment.substr(equals + 1);
  const std::string origin = "--set " + std::string(assignment);
  Json value = Json::accept(text) ? parse_strictly(text, origin) : Json(std::string(text));
  // Only what the shell passes can be something else than UTF-8; it could not be written out again.
  if (value.is_string() && value.dump(-1, ' ', true, Json::error_handler_t::ignore) !=
                               value.dump(-1, ' ', true, Json::error_handler_t::replace))
    throw input_error("--set " + value.dump(-1, ' ', true, Json::error_handler_t::replace), "",
                      "the value is not UTF-8 text", "write it in UTF-8");

  Json* place = &data_->root;
  std::string pointer;
  if (std::count(path.begin(), path.end(), '.') >= kDepthMax)
    throw input_error(origin, "", fmt::format("its path is longer than {} parts", kDepthMax), "name a shorter path");
  std::size_t start = 0;
  while (start <= path.size()) {
    const std::size_t dot = std::min(path.find('.', start), path.size());
    const std::string key(path.substr(start, dot - start));
    if (key.empty()) throw input_error(origin, "", "has an empty part in its path", "separate keys by single dots");
    pointer += "/" + escape_token(key);
    if (place->is_null()) *place = Json::object();
    if (place->is_object()) {
      place = &(*place)[key];
    } else if (place->is_array()) {
      std::size_t index = place->size();
      const auto [rest, parsed] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (parsed != std::errc() || rest != key.data() + key.size() || index >= place->size())
        throw input_error(origin, pointer, fmt::format("\"{}\" is no element of a list of {}", key, place->size()),
                          "use an index from 0");
      place = &(*place)[index];
    } else {
      throw input_error(origin, pointer, "runs through a value that has no members",
                        "check the path against `foretoken schema scenario`");
    }
    start = dot + 1;
  }
  *place = std::move(value);
  data_->overrides.emplace_back(pointer, std::string(assignment));
}

JsonReader JsonDocument::root() const { return JsonReader(data_, &data_->root, ""); }
const std::string& JsonDocument::name() const { return data_->name; }
const Json& JsonDocument::json() const { return data_->root; }
std::filesystem::path JsonDocument::directory() const { return data_->directory; }

bool JsonReader::is_object() const { return value_->is_object(); }
bool JsonReader::is_array() const { return value_->is_array(); }
bool JsonReader::is_string() const { return value_->is_string(); }
bool JsonReader::is_number() const { return value_->is_number(); }
std::filesystem::path JsonReader::directory() const { return document_->directory; }

std::string JsonReader::shown() const { return shortened(*value_); }

Error JsonReader::error(std::string_view found, std::string_view expected) const {
  return input_error(document_->origin_of(pointer_), pointer_, found, expected);
}

void JsonReader::fail(std::string_view found, std::string_view expected) const { throw error(found, expected); }

std::int64_t JsonReader::as_integer(std::int64_t min, std::int64_t max) const {
  const std::string wanted = fmt::format("write a whole number from {} to {}", min, max);
  if (!value_->is_number()) fail(fmt::format("{} is not a number", shown()), wanted);
  std::int64_t number = 0;
  bool fits = true;
  if (value_->is_number_float()) {
    // 8.0 and 1e3 are whole numbers, and so is 1e20, which is too large for an integer.
    const double real = value_->get<double>();
    if (real != std::floor(real)) fail(fmt::format("{} is not a whole number", shown()), wanted);
    fits = std::abs(real) <= kWholeDoubleMax;
    if (fits) number = static_cast<std::int64_t>(real);
  } else {
    fits = !value_->is_number_unsigned() || value_->get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    if (fits) number = value_->get<std::int64_t>();
  }
  if (!fits || number < min || number > max) fail(fmt::format("{} is out of range", shown()), wanted);
  return number;
}

double JsonReader::as_number(double min, double max) const {
  const auto wanted = [&] { return fmt::format("write a number from {} to {}", min, max); };
  if (!value_->is_number()) fail(fmt::format("{} is not a number", shown()), wanted());
  const double number = value_->get<double>();
  if (!std::isfinite(number) || number < min || number > max)
    fail(fmt::format("{} is out of range", shown()), wanted());
  return number;
}

bool JsonReader::as_bool() const {
  if (!value_->is_boolean()) fail(fmt::format("{} is not true or false", shown()), "write true or false");
  return value_->get<bool>();
}

std::string JsonReader::as_string(bool may_be_empty) const {
  if (!value_->is_string()) fail(fmt::format("{} is not a string", shown()), "write text in double quotes");
  const auto& text = value_->get_ref<const std::string&>();
  if (text.empty() && !may_be_empty) fail("the string is empty", "write at least one character");
  if (text.size() > kStringBytesMax)
    fail(fmt::format("the string has {} bytes", text.size()), fmt::format("at most {} are allowed", kStringBytesMax));
  return text;
}

namespace {

bool is_bare_number(std::string_view text) {
  double number = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  return status == std::errc() && rest == text.data() + text.size();
}

// One shape for all quantities: text with a unit, finite, within bounds.
template <class Q>
Q quantity(const JsonReader& place, std::optional<Q> (*parse)(std::string_view), Q min, Q max,
           std::string_view example) {
  const std::string wanted = fmt::format("write for example {}", example);
  if (place.is_number()) place.fail(fmt::format("{} has no unit", place.shown()), wanted);
  if (!place.is_string()) place.fail(fmt::format("{} is not a quantity", place.shown()), wanted);
  const auto& text = place.json().get_ref<const std::string&>();
  const auto value = parse(text);
  if (!value && is_bare_number(text)) place.fail(fmt::format("{} has no unit", place.shown()), wanted);
  if (!value) place.fail(fmt::format("{} is not a number with a unit of this kind", place.shown()), wanted);
  if (*value < min || *value > max) place.fail(fmt::format("{} is out of range", place.shown()), wanted);
  return *value;
}

}  // namespace

Bytes JsonReader::as_bytes(Bytes min, Bytes max) const {
  return quantity<Bytes>(*this, parse_bytes, min, max, "\"80 GiB\" or \"80 GB\"");
}
BytesPerSecond JsonReader::as_bandwidth(BytesPerSecond min, BytesPerSecond max) const {
  return quantity<BytesPerSecond>(*this, parse_bandwidth, min, max, "\"400 Gb/s\" or \"50 GB/s\"");
}
Seconds JsonReader::as_duration(Seconds min, Seconds max) const {
  return quantity<Seconds>(*this, parse_duration, min, max, "\"1.5 us\" or \"20 ms\"");
}
FlopsPerSecond JsonReader::as_flop_rate(FlopsPerSecond min, FlopsPerSecond max) const {
  return quantity<FlopsPerSecond>(*this, parse_flop_rate, min, max, "\"989 TFLOP/s\"");
}
double JsonReader::as_share(double min, double max) const {
  return quantity<double>(*this, parse_percentage, min, max, "\"10 %\"");
}

std::size_t JsonReader::option_index(std::span<const std::string_view> options) const {
  const std::string wanted = fmt::format("write one of \"{}\"", fmt::join(options, "\", \""));
  if (!value_->is_string()) fail(fmt::format("{} is not a string", shown()), wanted);
  const auto& text = value_->get_ref<const std::string&>();
  const auto found = std::find(options.begin(), options.end(), text);
  if (found == options.end()) {
    const std::string near = nearest_word(text, options);
    fail(fmt::format("{} is not known", shown()),
         near.empty() ? wanted : fmt::format("did you mean \"{}\"? {}", near, wanted));
  }
  return static_cast<std::size_t>(found - options.begin());
}

std::vector<JsonReader> JsonReader::as_array(std::size_t min, std::size_t max) const {
  if (!value_->is_array()) fail(fmt::format("{} is not a list", shown()), "write a list in square brackets");
  if (value_->size() < min || value_->size() > max)
    fail(fmt::format("the list has {} elements", value_->size()), fmt::format("write {} to {}", min, max));
  std::vector<JsonReader> elements;
  elements.reserve(value_->size());
  for (std::size_t i = 0; i < value_->size(); ++i)
    elements.push_back(JsonReader(document_, &(*value_)[i], fmt::format("{}/{}", pointer_, i)));
  return elements;
}

std::vector<double> JsonReader::as_numbers(std::size_t min, std::size_t max, double low, double high) const {
  std::vector<double> numbers;
  for (const JsonReader& element : as_array(min, max)) numbers.push_back(element.as_number(low, high));
  return numbers;
}

std::vector<std::int64_t> JsonReader::as_integers(std::size_t min, std::size_t max, std::int64_t low,
                                                  std::int64_t high) const {
  std::vector<std::int64_t> numbers;
  for (const JsonReader& element : as_array(min, max)) numbers.push_back(element.as_integer(low, high));
  return numbers;
}

JsonObject::JsonObject(JsonReader place) : place_(std::move(place)) {
  if (!place_.is_object()) place_.fail(fmt::format("{} is not an object", place_.shown()), "write an object in braces");
}

JsonReader JsonObject::require(std::string_view key) {
  auto member = optional(key);
  if (!member) place_.fail(fmt::format("the key \"{}\" is missing", key), "add it");
  return *member;
}

std::optional<JsonReader> JsonObject::optional(std::string_view key) {
  known_.emplace(key);
  const auto found = place_.json().find(key);
  if (found == place_.json().end()) return std::nullopt;
  return JsonReader(place_.document_, &*found, place_.pointer() + "/" + escape_token(key));
}

bool JsonObject::has(std::string_view key) const { return place_.json().contains(key); }

std::vector<std::pair<std::string, JsonReader>> JsonObject::members() {
  std::vector<std::pair<std::string, JsonReader>> all;
  for (const auto& item : place_.json().items()) all.emplace_back(item.key(), *optional(item.key()));
  return all;
}

void JsonObject::finish() const {
  for (const auto& item : place_.json().items()) {
    if (known_.contains(item.key())) continue;
    const std::vector<std::string_view> options(known_.begin(), known_.end());
    const std::string near = nearest_word(item.key(), options);
    const std::string hint = near.empty() ? fmt::format("known keys: {}", fmt::join(options, ", "))
                                          : fmt::format("did you mean \"{}\"?", near);
    const std::string key = shortened(Json(item.key()));  // with its quotes
    JsonReader(place_.document_, &item.value(), place_.pointer() + "/" + escape_token(key.substr(1, key.size() - 2)))
        .fail(fmt::format("the key {} is not known here", key), hint);
  }
}

std::string nearest_word(std::string_view word, std::span<const std::string_view> options) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  if (word.size() > 64) return best;
  for (const std::string_view option : options) {
    std::vector<std::size_t> row(option.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= option.size(); ++j) {
        const std::size_t replaced = diagonal + (word[i - 1] == option[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = option;
    }
  }
  return best;
}

}  // namespace foretoken
