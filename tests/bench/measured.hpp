// What a program of tests/bench/against_simgrid says about itself: lines of "name value" on stdout, times of flows in a
// file.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

namespace foretoken::bench {

/// CPU seconds of this process so far, all threads.
inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Largest resident memory of this process so far, bytes.
inline std::int64_t peak_memory() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<std::int64_t>(used.ru_maxrss) * 1024;
}

inline void print(const char* name, double value) { std::printf("%s %.12g\n", name, value); }

/// Raw doubles, seconds: by source and then by destination.
inline void write_times(const std::string& path, const std::vector<double>& times) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  const bool written = file != nullptr && std::fwrite(times.data(), sizeof(double), times.size(), file) == times.size();
  if (file == nullptr || std::fclose(file) != 0 || !written) throw std::runtime_error("cannot write " + path);
}

inline std::vector<double> read_times(const std::string& path, std::size_t count) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot read " + path);
  std::vector<double> times(count + 1);
  const std::size_t found = std::fread(times.data(), sizeof(double), count + 1, file);
  std::fclose(file);
  if (found != count) throw std::runtime_error(path + " has the times of another number of flows");
  times.resize(count);
  return times;
}

/// The value that follows `name` among the arguments; `otherwise` if it is not there.
inline std::string argument(int argc, char** argv, const std::string& name, const std::string& otherwise) {
  for (int a = 1; a + 1 < argc; a += 2)
    if (argv[a] == name) return argv[a + 1];
  return otherwise;
}

}  // namespace foretoken::bench
