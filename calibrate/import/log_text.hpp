// Logs of other tools as lines of text, and words and numbers in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace foretoken::calibrate {

inline constexpr double kMicrosecondsMax = 1e9;  // of one measurement

struct LogLine {
  std::size_t number = 0;  // in the file, from 1
  std::string_view text;   // without line end, and without what a launcher put before it
};

/// Lines of a log without the escapes that colour a terminal, and without a tag that mpirun or srun puts before each:
/// "[1,0]<stdout>: ", "[0] ", "1,0> ", "0: ".
class LogText {
 public:
  explicit LogText(std::string_view text);
  LogText(const LogText&) = delete;
  LogText& operator=(const LogText&) = delete;

  [[nodiscard]] const std::vector<LogLine>& lines() const { return lines_; }

 private:
  std::string text_;
  std::vector<LogLine> lines_;
};

std::string_view trimmed(std::string_view text);
/// Separated by blanks and tabs.
std::vector<std::string_view> words_of(std::string_view text);
/// Separated by the character, with blanks around them removed.
std::vector<std::string_view> fields_of(std::string_view text, char separator);

/// A finite number, as the whole of the text.
std::optional<double> number_in(std::string_view text);
/// A whole number >= 0, as the whole of the text.
std::optional<std::int64_t> whole_number_in(std::string_view text);

/// What follows `before` in the text, up to its end; nothing if it is not there.
std::optional<std::string_view> after(std::string_view text, std::string_view before);
/// The number at the beginning of the text, after blanks; what is left of the text is put back.
std::optional<double> take_number(std::string_view& text);
/// Removes `expected` from the beginning, after blanks.
bool take(std::string_view& text, std::string_view expected);

/// The text as it may stand in a message: short, and without what is no printable ASCII.
std::string quoted_for_message(std::string_view text);

}  // namespace foretoken::calibrate
