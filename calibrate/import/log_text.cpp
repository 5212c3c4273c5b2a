#include "calibrate/import/log_text.hpp"

#include <charconv>
#include <cmath>
#include <system_error>

namespace foretoken::calibrate {
namespace {

constexpr std::string_view kBlanks = " \t\r";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "\x1b[4m" and the like: escape, bracket, parameters, one final letter.
std::string without_escapes(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b' || i + 1 >= text.size() || text[i + 1] != '[') {
      plain += text[i];
      continue;
    }
    i += 2;
    while (i < text.size() && (is_digit(text[i]) || text[i] == ';')) ++i;
  }
  return plain;
}

std::size_t digits_from(std::string_view text, std::size_t begin) {
  std::size_t end = begin;
  while (end < text.size() && is_digit(text[end])) ++end;
  return end;
}

// "[1,0]<stdout>:" and "[0]" of Open MPI and torchrun, "1,0>" of MPICH, "0:" of srun.
std::string_view without_tag(std::string_view line) {
  const bool bracket = line.starts_with('[');
  const std::size_t begin = bracket ? 1 : 0;
  std::size_t end = digits_from(line, begin);
  if (end == begin) return line;
  bool pair = false;
  if (end < line.size() && line[end] == ',') {
    const std::size_t second = digits_from(line, end + 1);
    if (second == end + 1) return line;
    end = second;
    pair = true;
  }
  const char closing = bracket ? ']' : pair ? '>' : ':';
  if (end >= line.size() || line[end] != closing) return line;
  std::string_view rest = line.substr(end + 1);
  for (const std::string_view stream : {"<stdout>:", "<stderr>:"})
    if (bracket && rest.starts_with(stream)) return rest.substr(stream.size());
  // "[0]" alone may belong to the line; a launcher's is followed by a blank.
  return rest.empty() || kBlanks.find(rest.front()) != std::string_view::npos ? rest : line;
}

}  // namespace

LogText::LogText(std::string_view text) : text_(without_escapes(text)) {
  std::string_view rest = text_;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines_.push_back({number, without_tag(line)});
  }
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t begin = text.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const std::size_t end = text.find_first_of(kBlanks);
    words.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return words;
    text.remove_prefix(end);
  }
}

std::vector<std::string_view> fields_of(std::string_view text, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t end = text.find(separator);
    fields.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (text.empty() || status != std::errc() || rest != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::int64_t> whole_number_in(std::string_view text) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (text.empty() || status != std::errc() || rest != end || value < 0) return std::nullopt;
  return value;
}

std::optional<std::string_view> after(std::string_view text, std::string_view before) {
  const std::size_t found = text.find(before);
  if (found == std::string_view::npos) return std::nullopt;
  return text.substr(found + before.size());
}

std::optional<double> take_number(std::string_view& text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view from = text.substr(begin);
  double value = 0;
  const auto [rest, status] = std::from_chars(from.data(), from.data() + from.size(), value);
  if (status != std::errc() || !std::isfinite(value)) return std::nullopt;
  text = from.substr(static_cast<std::size_t>(rest - from.data()));
  return value;
}

bool take(std::string_view& text, std::string_view expected) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos || !text.substr(begin).starts_with(expected)) return false;
  text.remove_prefix(begin + expected.size());
  return true;
}

std::string quoted_for_message(std::string_view text) {
  constexpr std::size_t shown_max = 60;
  std::string shown = "\"";
  for (const char c : text.substr(0, shown_max)) shown += c >= ' ' && c <= '~' ? c : '?';
  return shown + (text.size() > shown_max ? "...\"" : "\"");
}

}  // namespace foretoken::calibrate
