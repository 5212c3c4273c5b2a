#include "runtime/machine_identity.hpp"

#include <sys/utsname.h>

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

}  // namespace foretoken::runtime
