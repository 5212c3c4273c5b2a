// Files of tests: apart for each process, as others use the same computer, and gone with it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace foretoken::test {

/// A folder of the running test's own. It is there until the process ends.
inline std::filesystem::path scratch_folder() {
  struct OfProcess {
    pid_t owner = ::getpid();
    std::filesystem::path path = std::filesystem::temp_directory_path() / fmt::format("foretoken_tests_{}", owner);
    OfProcess() { std::filesystem::remove_all(path); }
    ~OfProcess() {
      std::error_code ignored;
      if (::getpid() != owner) return;  // a child that was forked
      std::filesystem::remove_all(path, ignored);
    }
    OfProcess(const OfProcess&) = delete;
    OfProcess& operator=(const OfProcess&) = delete;
  };
  static const OfProcess process;
  const testing::TestInfo* const test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = fmt::format("{}_{}", test->test_suite_name(), test->name());
  std::replace(name.begin(), name.end(), '/', '_');
  std::filesystem::create_directories(process.path / name);
  return process.path / name;
}

}  // namespace foretoken::test
