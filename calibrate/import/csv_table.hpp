// Comma-separated tables of other tools: named columns, `#` comment lines, one record per line, no quoting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace foretoken::calibrate {

/// A table with the columns that were asked for, in that order; other columns are ignored.
class CsvTable {
 public:
  /// @param columns  names that the header must have
  /// @throws Error{invalid_input} naming file and line: missing or unreadable file, over 256 MiB, no header, a missing
  ///         or repeated column, a quoted field, or a line whose number of fields differs from the header's
  static CsvTable from_file(const std::filesystem::path& path, std::span<const std::string_view> columns);
  /// Like from_file; `name` stands for the file in errors.
  static CsvTable from_text(std::string_view text, std::string name, std::span<const std::string_view> columns);

  [[nodiscard]] std::size_t size() const { return lines_.size(); }

  /// The field as it stands. Preconditions (checked): row < size(), column < number of columns.
  [[nodiscard]] const std::string& text(std::size_t row, std::size_t column) const;
  /// @throws Error{invalid_input} naming file, line and column unless it is a finite number in [min, max]
  [[nodiscard]] double number(std::size_t row, std::size_t column, double min, double max) const;
  /// @throws Error{invalid_input} naming file, line and column unless it is a whole number in [min, max]
  [[nodiscard]] std::int64_t integer(std::size_t row, std::size_t column, std::int64_t min, std::int64_t max) const;
  /// Throws the Error for this field.
  [[noreturn]] void fail(std::size_t row, std::size_t column, std::string_view expected) const;

 private:
  std::string name_;
  std::vector<std::string> columns_;
  std::vector<std::string> fields_;  // row-major, size() x columns
  std::vector<std::size_t> lines_;   // line in the file of each row, from 1
};

}  // namespace foretoken::calibrate
