#include "runtime/machine_identity.hpp"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <thread>

#include "runtime/host/verbs.hpp"

namespace foretoken::runtime {
namespace {

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && line.starts_with("model name")) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

MachineIdentity this_machine() {
  MachineIdentity machine;
  utsname names{};
  if (uname(&names) == 0) {
    machine.host = std::string_view(names.nodename);
    machine.kernel = std::string(std::string_view(names.sysname)) + " " + std::string(std::string_view(names.release));
  }
  machine.cpu = cpu_model();
  machine.cores = std::thread::hardware_concurrency();
  machine.blas = host::blas_version();
  return machine;
}

std::int64_t usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  // Fails where there are more cores than the set can name; then all of them count.
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return std::max(1, CPU_COUNT(&cores));
  return std::max<std::int64_t>(1, std::thread::hardware_concurrency());
}

// "cpu user nice system idle iowait irq softirq steal …": guests are in user already.
CoreTime core_time() {
  std::ifstream stat("/proc/stat");
  std::string word;
  CoreTime time;
  stat >> word;
  std::int64_t ticks = 0;
  for (int column = 0; column < 8 && stat >> ticks; ++column) {
    time.all += ticks;
    if (column == 3 || column == 4) time.idle += ticks;
  }
  return time;
}

}  // namespace foretoken::runtime
