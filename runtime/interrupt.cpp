#include "runtime/interrupt.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace foretoken::runtime {
namespace {

// A handler is handed nothing, so what it needs is static.
// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables)
volatile std::sig_atomic_t interrupted = 0;
volatile std::sig_atomic_t took_interrupt = 0;
volatile std::sig_atomic_t took_terminate = 0;
const char* volatile notice_text = nullptr;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

void interrupt(int /*signal*/) {
  const int saved = errno;
  interrupted = 1;
  if (took_interrupt != 0) std::signal(SIGINT, SIG_DFL);
  if (took_terminate != 0) std::signal(SIGTERM, SIG_DFL);
  if (const char* const text = notice_text; text != nullptr)
    static_cast<void>(!write(STDERR_FILENO, text, std::strlen(text)));
  errno = saved;
}

// Whether it is not ignored.
bool take_signal(int signal, struct sigaction& before) {
  sigaction(signal, nullptr, &before);
  if (before.sa_handler == SIG_IGN) return false;
  struct sigaction ours {};
  ours.sa_handler = interrupt;
  ours.sa_flags = SA_RESTART;
  sigaction(signal, &ours, nullptr);
  return true;
}

}  // namespace

InterruptFlag::InterruptFlag(const Options& options) : terminate_too_(options.terminate_too) {
  interrupted = 0;
  notice_text = options.notice;
  took_interrupt = take_signal(SIGINT, before_interrupt_) ? 1 : 0;
  took_terminate = terminate_too_ && take_signal(SIGTERM, before_terminate_) ? 1 : 0;
}

InterruptFlag::~InterruptFlag() {
  sigaction(SIGINT, &before_interrupt_, nullptr);
  if (terminate_too_) sigaction(SIGTERM, &before_terminate_, nullptr);
  notice_text = nullptr;
}

bool InterruptFlag::raised() const { return interrupted != 0; }

}  // namespace foretoken::runtime
