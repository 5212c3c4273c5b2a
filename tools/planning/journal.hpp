// The points of a sweep that are done, in a file, so that a sweep that was ended goes on where it was.
//
// Append-only: a first line that says which sweep it is of, then a line of JSON per point. A line is written at once;
// what a kill leaves of the last one is cut off when the file is opened again. Lines survive the process, not a failure
// of the computer's power.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>

namespace foretoken::planning {

class Journal {
 public:
  /// Opens or begins the file, for this process alone.
  /// @param sweep  what the sweep is of: equal for equal sweeps, one line
  /// @throws Error{invalid_input} naming the file if it cannot be opened, read or written, if another process has it,
  ///         if it is no journal, or that of another sweep, or is damaged before its last line
  Journal(std::filesystem::path file, const std::string& sweep, std::size_t points);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// Results that were in the file when it was opened, by point: JSON, as add() took it.
  [[nodiscard]] const std::map<std::size_t, std::string>& known() const { return known_; }

  /// @param result  JSON on one line
  /// @throws Error{invalid_input} if it cannot be written: a full disk
  void add(std::size_t point, const std::string& result);

 private:
  void read(const std::string& header, std::size_t points);
  void append(const std::string& line) const;

  std::filesystem::path file_;
  int descriptor_ = -1;
  std::map<std::size_t, std::string> known_;
};

}  // namespace foretoken::planning
