#include "tools/planning/space.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "core/error.hpp"

namespace foretoken::planning {
namespace {

constexpr std::int64_t kRangeMax = std::int64_t{1} << 40;  // of its numbers
constexpr std::size_t kValuesMax = 1'000'000;              // of one axis

Error bad(const std::string& assignment, std::string_view found, std::string_view expected) {
  return input_error("--set " + assignment, "", found, expected);
}

std::vector<std::string> parts_of(const std::string& assignment, std::string_view text) {
  std::vector<std::string> parts{""};
  std::string open;  // brackets that are to close
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\' && i + 1 < text.size()) parts.back() += text[i++];
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      open += c == '{' ? '}' : ']';
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != c)
        throw bad(assignment, fmt::format("a \"{}\" closes nothing", c), "check the brackets of its values");
      open.pop_back();
    } else if (c == ',' && open.empty()) {
      parts.emplace_back();
      continue;
    }
    parts.back() += text[i];
  }
  if (quoted) throw bad(assignment, "a quote does not close", "end the text with a quote");
  if (!open.empty())
    throw bad(assignment, fmt::format("a \"{}\" is missing", open.back()), "check the brackets of its values");
  return parts;
}

std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || rest == text.data()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return number;
}

/// "first..last", "first..last+step", "first..last*factor"; nothing if it is not of that form.
std::optional<std::vector<std::string>> range_of(const std::string& assignment, std::string_view text) {
  const auto first = take_number(text);
  if (!first || !text.starts_with("..")) return std::nullopt;
  text.remove_prefix(2);
  const auto last = take_number(text);
  if (!last) return std::nullopt;
  bool multiply = false;
  std::int64_t by = 1;
  if (!text.empty()) {
    if (text.front() != '+' && text.front() != '*') return std::nullopt;
    multiply = text.front() == '*';
    text.remove_prefix(1);
    const auto step = take_number(text);
    if (!step || !text.empty()) return std::nullopt;
    by = *step;
  }
  if (*first > *last || *last > kRangeMax || *first < -kRangeMax)
    throw bad(assignment, fmt::format("the range {}..{} has no numbers, or absurd ones", *first, *last),
              "write it from the smaller to the larger");
  if (by < 1 || by > kRangeMax || (multiply && (by < 2 || *first < 1)))
    throw bad(
        assignment, "its range does not move on",
        "write FIRST..LAST+STEP with a step from 1, or FIRST..LAST*FACTOR with a factor from 2 and numbers from 1");
  std::vector<std::string> values;
  for (std::int64_t value = *first; value <= *last; value = multiply ? value * by : value + by) {
    if (values.size() == kValuesMax)
      throw bad(assignment, fmt::format("its range has more than {} values", kValuesMax), "write a larger step");
    values.push_back(std::to_string(value));
    if (multiply && value > *last / by) break;
  }
  return values;
}

/// Whether one of the two fields is the other or a part of it.
bool overlap(const std::string& a, const std::string& b) {
  return a == b || a.starts_with(b + ".") || b.starts_with(a + ".");
}

}  // namespace

Axis read_axis(const std::string& assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw bad(assignment, "is not FIELD=VALUE,VALUE,...", "write for example --set deployment.experts.ep=8,16,32");
  Axis axis{assignment.substr(0, equals), {}};
  const std::string text = assignment.substr(equals + 1);
  if (text.empty()) throw bad(assignment, "has no value", "give the values that the field shall take, with commas");
  for (std::string& part : parts_of(assignment, text)) {
    if (part.empty()) throw bad(assignment, "has an empty value", "take away the comma, or write \"\" for no text");
    if (auto range = range_of(assignment, part)) {
      axis.values.insert(axis.values.end(), range->begin(), range->end());
    } else {
      axis.values.push_back(std::move(part));
    }
  }
  std::set<std::string_view> seen;
  for (const std::string& value : axis.values)
    if (!seen.insert(value).second)
      throw bad(assignment, fmt::format("has the value {} twice", value), "name each value once");
  return axis;
}

Space::Space(std::vector<Axis> axes, std::size_t points_max) : axes_(std::move(axes)) {
  for (std::size_t a = 0; a < axes_.size(); ++a)
    for (std::size_t b = 0; b < a; ++b)
      if (overlap(axes_[a].field, axes_[b].field))
        throw bad(axes_[a].field + "=...", fmt::format("the field is also set by --set {}=...", axes_[b].field),
                  axes_[a].field == axes_[b].field ? "give all its values in one --set" : "set one of the two");
  double count = 1;
  std::vector<std::string> factors;
  const Axis* widest = nullptr;
  for (const Axis& axis : axes_) {
    count *= static_cast<double>(axis.values.size());
    if (axis.values.size() > 1) factors.push_back(fmt::format("{} of {}", axis.values.size(), axis.field));
    if (widest == nullptr || axis.values.size() > widest->values.size()) widest = &axis;
  }
  if (count > static_cast<double>(points_max))
    throw Error(ErrorCode::invalid_input,
                fmt::format("the sweep has {:.6g} points ({}), and at most {} are simulated; give fields fewer values "
                            "({} has most), or fix some and sweep the others first",
                            count, fmt::join(factors, " x "), points_max, widest->field));
  for (const Axis& axis : axes_) size_ *= axis.values.size();
}

std::vector<std::size_t> Space::values_of(std::size_t point) const {
  std::vector<std::size_t> values(axes_.size());
  for (std::size_t a = axes_.size(); a-- > 0;) {
    values[a] = point % axes_[a].values.size();
    point /= axes_[a].values.size();
  }
  return values;
}

std::vector<std::string> Space::assignments_of(std::size_t point) const {
  const std::vector<std::size_t> values = values_of(point);
  std::vector<std::string> assignments;
  for (std::size_t a = 0; a < axes_.size(); ++a)
    assignments.push_back(axes_[a].field + "=" + axes_[a].values[values[a]]);
  return assignments;
}

}  // namespace foretoken::planning
