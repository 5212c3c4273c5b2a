#include "tools/topology/canvas.hpp"

#include <array>

namespace foretoken::topology {
namespace {

constexpr std::uint8_t kUp = 1;
constexpr std::uint8_t kDown = 2;
constexpr std::uint8_t kLeft = 4;
constexpr std::uint8_t kRight = 8;

// By the sum of the ways that a line leaves a cell.
constexpr std::array<std::string_view, 16> kGlyphs{" ", "│", "│", "│", "─", "┘", "┐", "┤",
                                                   "─", "└", "┌", "├", "─", "┴", "┬", "┼"};

}  // namespace

Canvas::Cell& Canvas::cell(std::size_t row, std::size_t column) {
  if (cells_.size() <= row) cells_.resize(row + 1);
  if (cells_[row].size() <= column) cells_[row].resize(column + 1);
  return cells_[row][column];
}

void Canvas::text(std::size_t row, std::size_t column, std::string_view text) {
  for (const char letter : text) cell(row, column++).letter = letter;
}

void Canvas::vertical(std::size_t column, std::size_t from, std::size_t to) {
  for (std::size_t row = from; row <= to; ++row) {
    if (row > from) cell(row, column).ways |= kUp;
    if (row < to) cell(row, column).ways |= kDown;
  }
}

void Canvas::horizontal(std::size_t row, std::size_t from, std::size_t to) {
  for (std::size_t column = from; column <= to; ++column) {
    if (column > from) cell(row, column).ways |= kLeft;
    if (column < to) cell(row, column).ways |= kRight;
  }
}

std::string Canvas::rows(std::size_t indent) const {
  std::string text;
  for (const auto& row : cells_) {
    std::string line(indent, ' ');
    for (const Cell& one : row) {
      if (one.letter != 0) line += one.letter;
      else line += kGlyphs[one.ways];
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace foretoken::topology
