#include <charconv>
#include <cstdlib>
#include <string_view>

#include "runtime/run.hpp"

namespace foretoken::runtime {

std::optional<std::int64_t> launched_ranks() {
  // OpenMPI; MPICH, Intel MPI and srun's PMI.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here changes the environment
    if (value == nullptr) continue;
    const std::string_view text(value);
    std::int64_t ranks = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ranks);
    if (error == std::errc() && end == text.data() + text.size() && ranks >= 1) return ranks;
  }
  return std::nullopt;
}

std::optional<std::filesystem::path> emulated_topology() {
  const char* const value = std::getenv("FORETOKEN_NETLAB");  // NOLINT(concurrency-mt-unsafe): as above
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

}  // namespace foretoken::runtime
