// A sheet of characters on which boxes of text are joined by lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foretoken::topology {

/// Grows as it is drawn on. Where lines meet, the character that joins them comes by itself.
class Canvas {
 public:
  /// ASCII, over whatever is there.
  void text(std::size_t row, std::size_t column, std::string_view text);
  /// From one row to another in a column, ends included.
  void vertical(std::size_t column, std::size_t from, std::size_t to);
  /// From one column to another in a row, ends included.
  void horizontal(std::size_t row, std::size_t from, std::size_t to);

  /// Rows as UTF-8, each with its line end and without blanks before it; `indent` blanks before each.
  [[nodiscard]] std::string rows(std::size_t indent = 0) const;

 private:
  struct Cell {
    char letter = 0;        // 0: none
    std::uint8_t ways = 0;  // of lines: up, down, left, right
  };
  Cell& cell(std::size_t row, std::size_t column);

  std::vector<std::vector<Cell>> cells_;
};

}  // namespace foretoken::topology
