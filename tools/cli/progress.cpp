#include "tools/cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <utility>

namespace foretoken::cli {
namespace {

constexpr double kOnTerminal = 0.5;  // seconds from one sign to the next
constexpr double kElsewhere = 10;

}  // namespace

Progress::Progress(std::ostream& err, std::string what, std::size_t total, std::size_t known)
    : err_(err),
      what_(std::move(what)),
      total_(total),
      known_(known),
      terminal_(&err == &std::cerr && ::isatty(STDERR_FILENO) == 1),
      begin_(std::chrono::steady_clock::now()),
      next_(terminal_ ? kOnTerminal : kElsewhere) {}

Progress::~Progress() {
  if (terminal_ && shown_) err_ << "\r\033[K" << std::flush;
}

void Progress::step() {
  ++done_;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  if (seconds < next_) return;
  show(seconds);
  next_ = seconds + (terminal_ ? kOnTerminal : kElsewhere);
}

void Progress::show(double seconds) {
  const std::size_t left = total_ - known_ - done_;
  const double seconds_left = seconds * static_cast<double>(left) / static_cast<double>(done_);
  err_ << fmt::format("{}{}: {} of {} done in {:.0f} s, about {:.0f} s left{}", terminal_ ? "\r\033[K" : "", what_,
                      known_ + done_, total_, seconds, seconds_left, terminal_ ? "" : "\n")
       << std::flush;
  shown_ = true;
}

}  // namespace foretoken::cli
