#include "tests/runtime/mpi_launch.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace foretoken::test {
namespace {

// A shell's view of a value, in quotes.
std::string in_quotes(const std::string& text) { return "'" + text + "'"; }

}  // namespace

std::string environment(const std::string& name) {
  const char* const value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): nothing changes it
  return value == nullptr ? "" : value;
}

bool have_mpirun() {
#if defined(__SANITIZE_ADDRESS__)
  return false;
#else
  return std::system("command -v mpirun >/dev/null 2>&1") == 0;  // NOLINT(concurrency-mt-unsafe)
#endif
}

MpiLaunch launch_mpi(int ranks, const std::string& test, const std::map<std::string, std::string>& variables) {
  const std::filesystem::path out =
      std::filesystem::temp_directory_path() / fmt::format("foretoken_mpi_test_{}.out", getpid());
  std::filesystem::remove(out);
  std::string settings;
  for (const auto& [name, value] : variables) settings += name + "=" + in_quotes(value) + " ";
  // Root may not be allowed to start MPI, and more ranks than cores must yield to one another.
  const std::string command = fmt::format(
      "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
      "OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none ASAN_OPTIONS=detect_leaks=0 "
      "{}FORETOKEN_TEST_OUT={} timeout -k 1 120 mpirun -n {} {} "
      "--gtest_brief=1 --gtest_also_run_disabled_tests --gtest_filter={} 2>&1",
      settings, in_quotes(out.string()), ranks, in_quotes(std::filesystem::read_symlink("/proc/self/exe").string()),
      test);
  MpiLaunch result;
  const auto began = std::chrono::steady_clock::now();
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no shell");
  char buffer[4096];
  for (std::size_t size = 0; (size = fread(buffer, 1, sizeof buffer, pipe)) > 0;) result.said.append(buffer, size);
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::ifstream file(out);
  result.written.assign(std::istreambuf_iterator<char>(file), {});
  std::filesystem::remove(out);
  return result;
}

}  // namespace foretoken::test
