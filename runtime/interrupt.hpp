// Ctrl-C as a question that long work asks itself now and then, so that it can end with what it has.
#pragma once

#include <csignal>

namespace foretoken::runtime {

/// While one lives, SIGINT only sets a flag; a second SIGINT ends the process at once, as it would without. Signals
/// that are ignored already (nohup, a shell's background jobs) stay so. One at a time.
class InterruptFlag {
 public:
  InterruptFlag();
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  [[nodiscard]] bool raised() const;

 private:
  struct sigaction before_ {};
};

}  // namespace foretoken::runtime
