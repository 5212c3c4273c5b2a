// The points of a sweep: every combination of values that some fields of a scenario take.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace foretoken::planning {

/// A field and the values it takes, each as --set takes it.
struct Axis {
  std::string field;                // "deployment.experts.ep"
  std::vector<std::string> values;  // "8", "16"; one: the field is fixed
};

/// Reads "FIELD=VALUE,VALUE,...". Commas inside quotes, braces and brackets part no values. A value may be a range of
/// whole numbers: `1..4` is 1,2,3,4; `0..100+50` is 0,50,100; `8..64*2` is 8,16,32,64.
/// @throws Error{invalid_input} if there is no field, no value or an empty one, a value twice, a bracket or quote that
///         does not close, or a range that is empty or does not move on
Axis read_axis(const std::string& assignment);

/// The cartesian product of the axes. Point 0 has the first value of each; the last axis moves fastest.
class Space {
 public:
  /// @throws Error{invalid_input} if two axes set one field, or one a part of the other, or if there are more than
  ///         `points_max` points; the message says how many there are and where to take some away
  Space(std::vector<Axis> axes, std::size_t points_max);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const std::vector<Axis>& axes() const { return axes_; }
  /// [axis] which of its values a point has.
  [[nodiscard]] std::vector<std::size_t> values_of(std::size_t point) const;
  /// As --set takes them, in order of the axes.
  [[nodiscard]] std::vector<std::string> assignments_of(std::size_t point) const;

 private:
  std::vector<Axis> axes_;
  std::size_t size_ = 1;
};

}  // namespace foretoken::planning
