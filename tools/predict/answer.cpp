#include "tools/predict/answer.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "core/error.hpp"

namespace foretoken::predict {
namespace {

// Room for the rows of 65,536 experts; what never ends must not fill the memory.
constexpr std::size_t kLineBytesMax = std::size_t{1} << 20;
constexpr std::array<const char*, 5> kAnswerKeys{"time_us", "low_us", "high_us", "provenance", "error"};
constexpr double kPicosecondsPerMicrosecond = 1e6;

double simulated_microseconds(Seconds time) {
  return static_cast<double>(to_sim_time(time).value()) / kPicosecondsPerMicrosecond;
}

// Of a text that is one line, "line 1" is no news.
std::string without_line_of_line(std::string message) {
  constexpr std::string_view line = "at line 1, column";
  const auto at = message.find(line);
  if (at != std::string::npos) message.replace(at, line.size(), "at column");
  return message;
}

}  // namespace

std::optional<Interval> interval_of(const sim::Estimate& estimate) {
  if (!estimate.error_p90) return std::nullopt;
  const double p90 = *estimate.error_p90;
  Interval interval{estimate.time / (1 + p90), std::nullopt};
  if (p90 < 1) interval.high = estimate.time / (1 - p90);
  return interval;
}

nlohmann::ordered_json Answer::answered() const {
  nlohmann::ordered_json result = line.is_object() ? line : nlohmann::ordered_json::object();
  for (const char* key : kAnswerKeys) result.erase(key);
  if (!estimate) {
    result["error"] = error;
    return result;
  }
  const auto interval = interval_of(*estimate);
  result["time_us"] = simulated_microseconds(estimate->time);
  result["low_us"] = nullptr;
  result["high_us"] = nullptr;
  if (interval) result["low_us"] = simulated_microseconds(interval->low);
  if (interval && interval->high) result["high_us"] = simulated_microseconds(*interval->high);
  result["provenance"] = name_of(estimate->provenance);
  return result;
}

Answers::Answers(std::istream& in, std::string name, Predictor& predictor)
    : in_(in), name_(std::move(name)), predictor_(predictor) {}

bool Answers::read_line() {
  text_.clear();
  too_long_ = false;
  bool any = false;
  std::streambuf& buffer = *in_.rdbuf();
  for (int c = buffer.sbumpc(); c != std::char_traits<char>::eof(); c = buffer.sbumpc()) {
    any = true;
    if (c == '\n') break;
    if (text_.size() < kLineBytesMax) text_ += static_cast<char>(c);
    else too_long_ = true;
  }
  if (any) ++number_;
  return any;
}

std::optional<Answer> Answers::next() {
  do {
    if (!read_line()) return std::nullopt;
  } while (text_.find_first_not_of(" \t\r") == std::string::npos);

  Answer answer;
  answer.where = fmt::format("{}:{}", name_, number_);
  try {
    if (too_long_)
      throw input_error(answer.where, "", fmt::format("the line is longer than {} KiB", kLineBytesMax >> 10),
                        "end it after one op");
    const JsonDocument document = JsonDocument::from_text(text_, answer.where);
    if (document.json().is_object()) answer.line = nlohmann::ordered_json::parse(text_);
    answer.op = read_op(document.root());
    answer.estimate = predictor_(*answer.op);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input) throw;
    answer.error = without_line_of_line(error.what());
    // Models do not know lines.
    if (!answer.error.starts_with(answer.where)) answer.error = answer.where + ": " + answer.error;
  }
  return answer;
}

}  // namespace foretoken::predict
