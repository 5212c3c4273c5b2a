// A text file that only grows, line by line, so that what long work has finished outlives a kill of its process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace foretoken {

/// A file of whole lines, for one process at a time. A line is written at once; what a kill or a full disk left of the
/// last one counts for nothing, and is cut off before the next is written. Lines survive the process, not a failure of
/// the computer's power.
class LineFile {
 public:
  /// Opens the file or begins it, and reads what is there; nothing in it is changed.
  /// @throws Error{invalid_input} naming the file if it cannot be opened or read, is no regular file, or another
  /// process
  ///         has it open
  explicit LineFile(std::filesystem::path file);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  /// The whole lines that were there when it was opened, without their ends.
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  /// What was there after the last whole line.
  [[nodiscard]] const std::string& torn() const { return torn_; }
  [[nodiscard]] const std::filesystem::path& path() const { return file_; }

  /// @param line  without an end of line in it
  /// @throws Error{invalid_input} if it cannot be written: a full disk. Then the file is as it was before
  void append(std::string_view line);

 private:
  std::filesystem::path file_;
  int descriptor_ = -1;
  std::vector<std::string> lines_;
  std::string torn_;
  std::int64_t whole_ = 0;  // bytes of whole lines
  bool cut_ = false;        // nothing is torn
};

/// The whole lines of a text, without their ends.
std::vector<std::string> whole_lines(std::string_view text);

}  // namespace foretoken
