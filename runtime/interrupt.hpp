// Ctrl-C as a question that long work asks itself now and then, so that it can end with what it has.
#pragma once

#include <csignal>

namespace foretoken::runtime {

/// While one lives, SIGINT only sets a flag; a second SIGINT ends the process at once, as it would without. Signals
/// that are ignored already (nohup, a shell's background jobs) stay so. One at a time.
class InterruptFlag {
 public:
  struct Options {
    bool terminate_too = false;    ///< SIGTERM likewise; not under MPI, where MpiWatch looks after it
    const char* notice = nullptr;  ///< written to standard error at the first signal; must outlive the flag
  };
  InterruptFlag() : InterruptFlag(Options{false, nullptr}) {}
  explicit InterruptFlag(const Options& options);
  ~InterruptFlag();
  InterruptFlag(const InterruptFlag&) = delete;
  InterruptFlag& operator=(const InterruptFlag&) = delete;

  [[nodiscard]] bool raised() const;

 private:
  bool terminate_too_;
  struct sigaction before_interrupt_ {};
  struct sigaction before_terminate_ {};
};

}  // namespace foretoken::runtime
