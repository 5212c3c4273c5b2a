// How far long work is, on stderr: a line that is written over on a terminal, else a line now and then.
#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <string>

namespace foretoken::cli {

class Progress {
 public:
  /// @param known  of the total, that need no work; time left is told from the others
  Progress(std::ostream& err, std::string what, std::size_t total, std::size_t known);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// One more is done.
  void step();

 private:
  void show(double seconds);

  std::ostream& err_;
  std::string what_;
  std::size_t total_;
  std::size_t known_;
  std::size_t done_ = 0;
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begin_;
  double next_;  // seconds from the beginning
};

}  // namespace foretoken::cli
