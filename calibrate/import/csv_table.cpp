#include "calibrate/import/csv_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::uintmax_t kFileBytesMax = std::uintmax_t{256} << 20;

std::vector<std::string_view> split(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t comma = line.find(',');
    fields.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

Error line_error(std::string_view name, std::size_t line, std::string_view found, std::string_view expected) {
  return input_error(fmt::format("{}:{}", name, line), "", found, expected);
}

/// For each asked column its place in the header.
std::vector<std::size_t> places_of(std::span<const std::string_view> columns,
                                   const std::vector<std::string_view>& header, std::string_view name,
                                   std::size_t line) {
  std::vector<std::size_t> places;
  for (const std::string_view column : columns) {
    const auto count = std::count(header.begin(), header.end(), column);
    if (count != 1) {
      throw line_error(name, line, fmt::format("column \"{}\" appears {} times in the header", column, count),
                       "give it once");
    }
    places.push_back(static_cast<std::size_t>(std::find(header.begin(), header.end(), column) - header.begin()));
  }
  return places;
}

template <class Number>
bool parse(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  return status == std::errc() && rest == end;
}

}  // namespace

CsvTable CsvTable::from_file(const std::filesystem::path& path, std::span<const std::string_view> columns) {
  std::error_code status;
  const std::uintmax_t size = std::filesystem::file_size(path, status);
  if (status) throw input_error(path.string(), "", status.message(), "name a readable file");
  if (size > kFileBytesMax)
    throw input_error(path.string(), "", fmt::format("{} bytes", size), "keep it under 256 MiB");
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.good() && !file.eof()) throw input_error(path.string(), "", "cannot be read", "name a readable file");
  return from_text(text, path.string(), columns);
}

CsvTable CsvTable::from_text(std::string_view text, std::string name, std::span<const std::string_view> columns) {
  CsvTable table;
  table.name_ = std::move(name);
  table.columns_.assign(columns.begin(), columns.end());
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // byte order mark, as spreadsheets write it
  std::vector<std::size_t> places;
  std::size_t width = 0;
  for (std::size_t line_number = 1; !text.empty(); ++line_number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    if (line.find('"') != std::string_view::npos) {
      throw line_error(table.name_, line_number, "a quoted field", "write fields without quotes and commas");
    }
    const std::vector<std::string_view> fields = split(line);
    if (width == 0) {
      width = fields.size();
      places = places_of(columns, fields, table.name_, line_number);
      continue;
    }
    if (fields.size() != width) {
      throw line_error(table.name_, line_number, fmt::format("{} fields", fields.size()),
                       fmt::format("the header has {}", width));
    }
    for (const std::size_t place : places) table.fields_.emplace_back(fields[place]);
    table.lines_.push_back(line_number);
  }
  if (width == 0) throw input_error(table.name_, "", "no header line", "begin with the names of the columns");
  return table;
}

const std::string& CsvTable::text(std::size_t row, std::size_t column) const {
  FORETOKEN_CHECK(row < size() && column < columns_.size(), "no such field in the table");
  return fields_[row * columns_.size() + column];
}

double CsvTable::number(std::size_t row, std::size_t column, double min, double max) const {
  double value = 0.0;
  if (!parse(text(row, column), value) || !std::isfinite(value) || value < min || value > max) {
    fail(row, column, fmt::format("write a number from {} to {}", min, max));
  }
  return value;
}

std::int64_t CsvTable::integer(std::size_t row, std::size_t column, std::int64_t min, std::int64_t max) const {
  std::int64_t value = 0;
  if (!parse(text(row, column), value) || value < min || value > max) {
    fail(row, column, fmt::format("write a whole number from {} to {}", min, max));
  }
  return value;
}

void CsvTable::fail(std::size_t row, std::size_t column, std::string_view expected) const {
  const std::string& found = text(row, column);
  throw line_error(name_, lines_[row], fmt::format("{} is \"{}\"", columns_[column], found), expected);
}

}  // namespace foretoken::calibrate
