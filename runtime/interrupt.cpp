#include "runtime/interrupt.hpp"

namespace foretoken::runtime {
namespace {

volatile std::sig_atomic_t interrupted = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): a handler's

void interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

InterruptFlag::InterruptFlag() {
  interrupted = 0;
  sigaction(SIGINT, nullptr, &before_);
  if (before_.sa_handler == SIG_IGN) return;
  struct sigaction ours {};
  ours.sa_handler = interrupt;
  ours.sa_flags = SA_RESTART;
  sigaction(SIGINT, &ours, nullptr);
}

InterruptFlag::~InterruptFlag() { sigaction(SIGINT, &before_, nullptr); }

bool InterruptFlag::raised() const { return interrupted != 0; }

}  // namespace foretoken::runtime
