// Files of tests: apart for each process, as others use the same computer, and gone with it.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace foretoken::test {

/// A folder of the running test's own. It is there until the process ends.
inline std::filesystem::path scratch_folder() {
  struct OfProcess {
    pid_t owner = ::getpid();
    std::filesystem::path path;
    // By a name that nobody can know before: what others left or put there is not met.
    OfProcess() {
      std::string name = (std::filesystem::temp_directory_path() / "foretoken_tests_XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr)
        throw std::system_error(errno, std::generic_category(), "no folder for the test's files as " + name);
      path = name;
    }
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
  if (test == nullptr)
    throw std::logic_error("scratch_folder() is a running test's: call it in a test, or its SetUp()");
  std::string name = fmt::format("{}_{}", test->test_suite_name(), test->name());
  std::replace(name.begin(), name.end(), '/', '_');
  std::filesystem::create_directories(process.path / name);
  return process.path / name;
}

}  // namespace foretoken::test
