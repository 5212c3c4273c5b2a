#include "runtime/interrupt.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace foretoken::runtime {
namespace {

// A handler is handed nothing, so what it needs is static.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables)
volatile std::sig_atomic_t interrupted = 0;
volatile std::sig_atomic_t takes_terminate = 0;
const char* volatile notice_text = nullptr;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

void interrupt(int /*signal*/) {
  const int saved = errno;
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);
  if (takes_terminate != 0) std::signal(SIGTERM, SIG_DFL);
  if (const char* const text = notice_text; text != nullptr)
    static_cast<void>(!write(STDERR_FILENO, text, std::strlen(text)));
  errno = saved;
}

void take_signal(int signal, struct sigaction& before) {
  sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return;
  struct sigaction ours {};
  ours.sa_handler = interrupt;
  ours.sa_flags = SA_RESTART;
  sigaction(signal, &ours, nullptr);
}

}  // namespace

InterruptFlag::InterruptFlag(const Options& options) : terminate_too_(options.terminate_too) {
  interrupted = 0;
  takes_terminate = terminate_too_ ? 1 : 0;
  notice_text = options.notice;
  take_signal(SIGINT, before_interrupt_);
  if (terminate_too_) take_signal(SIGTERM, before_terminate_);
}

InterruptFlag::~InterruptFlag() {
  sigaction(SIGINT, &before_interrupt_, nullptr);
  if (terminate_too_) sigaction(SIGTERM, &before_terminate_, nullptr);
  notice_text = nullptr;
}

bool InterruptFlag::raised() const { return interrupted != 0; }

}  // namespace foretoken::runtime
