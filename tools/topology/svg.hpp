// The few shapes of SVG that a drawing needs, and the styles that they share.
#pragma once

#include <string>
#include <string_view>

namespace foretoken::topology {

struct Point {
  double x = 0;
  double y = 0;
};

struct Box {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;

  [[nodiscard]] Point top() const { return {x + width / 2, y}; }
  [[nodiscard]] Point bottom() const { return {x + width / 2, y + height}; }
  [[nodiscard]] double right() const { return x + width; }
};

/// Shapes in the order in which they are painted; lines always under boxes and texts.
class Svg {
 public:
  /// @param style  class of the line: "nvlink", "pcie", "network"
  void line(Point from, Point to, std::string_view style, double width = 1.2);
  /// A box with a text in its middle, cut to what fits; the whole of it is shown when pointed at.
  void box(const Box& box, std::string_view style, std::string_view label);
  /// @param style  "title", "label", "note" or "right", which ends at the point
  void text(Point at, std::string_view style, std::string_view text);

  /// The file: self-contained, as large as its place allows, legible on light and dark ground.
  /// @param title  what it shows, for those who cannot see it
  [[nodiscard]] std::string file(double width, double height, std::string_view title) const;

 private:
  std::string lines_;
  std::string boxes_;
};

}  // namespace foretoken::topology
