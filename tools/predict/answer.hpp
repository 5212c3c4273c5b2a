// From lines of ops to lines of answers.
#pragma once

#include <cstdint>
#include <istream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "sim/cost/estimate.hpp"
#include "tools/predict/op_line.hpp"
#include "tools/predict/predictor.hpp"

namespace foretoken::predict {

/// Between these nine in ten measurements lie, if they are off from the prediction as those were that the fit did not
/// see: |predicted / measured - 1| <= p90 means predicted / (1 + p90) <= measured <= predicted / (1 - p90).
struct Interval {
  Seconds low;
  std::optional<Seconds> high;  // none from p90 = 1 on: then a measurement may be as long as it likes

  [[nodiscard]] bool holds(Seconds measured) const { return low <= measured && (!high || measured <= *high); }
};

/// Nothing where no residuals are known, see Estimate::error_p90.
std::optional<Interval> interval_of(const sim::Estimate& estimate);

/// One line, and what became of it.
struct Answer {
  std::string where;            // "ops.jsonl:12"
  nlohmann::ordered_json line;  // as it came, if it was an object
  std::optional<OpLine> op;
  std::optional<sim::Estimate> estimate;
  std::string error;  // if there is no estimate

  /// The line with `time_us`, `low_us`, `high_us` (null where unknown) and `provenance`, or with `error`; what it had
  /// under these names is replaced. Times are whole picoseconds.
  [[nodiscard]] nlohmann::ordered_json answered() const;
};

/// Reads lines one by one, however many there are, and answers each. Blank lines are passed over.
class Answers {
 public:
  /// @param name  of the input, for messages: "stdin". Both are kept by reference.
  Answers(std::istream& in, std::string name, Predictor& predictor);

  /// The next one; nothing at the end. An error of a line is in its answer, and the next line follows all the same.
  /// @throws Error of other codes than invalid_input
  std::optional<Answer> next();

 private:
  bool read_line();

  std::istream& in_;
  std::string name_;
  Predictor& predictor_;
  std::string text_;
  std::int64_t number_ = 0;
  bool too_long_ = false;
};

}  // namespace foretoken::predict
