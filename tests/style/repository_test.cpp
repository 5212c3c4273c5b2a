// The rules, applied to the repository itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tests/style/include_rules.hpp"
#include "tests/style/text_rules.hpp"

namespace foretoken::style {
namespace {

namespace fs = std::filesystem;

struct File {
  std::string path;  // relative to the repository root, with '/'
  std::string contents;
};

const fs::path& root() {
  static const fs::path path(FORETOKEN_SOURCE_DIR);
  return path;
}

// What git ignores: build trees and outputs.
bool is_ignored_folder(const fs::path& relative) {
  const std::string name = relative.generic_string();
  return name.starts_with("build") || name == "out" || name == ".git" || name == ".cache" || name == ".vscode" ||
         name == ".idea";
}

// Every text file of the repository, sorted by path.
const std::vector<File>& files() {
  static const std::vector<File> list = [] {
    std::vector<File> found;
    for (fs::recursive_directory_iterator it(root()), end; it != end; ++it) {
      const fs::path relative = it->path().lexically_relative(root());
      if (it->is_directory() && is_ignored_folder(relative)) it.disable_recursion_pending();
      if (!it->is_regular_file()) continue;
      std::ifstream in(it->path(), std::ios::binary);
      std::ostringstream text;
      text << in.rdbuf();
      File file{relative.generic_string(), text.str()};
      if (is_text(file.path, file.contents)) found.push_back(std::move(file));
    }
    std::sort(found.begin(), found.end(), [](const File& a, const File& b) { return a.path < b.path; });
    return found;
  }();
  return list;
}

std::string listed(const std::vector<Finding>& findings) {
  std::string text;
  for (const auto& [path, line, message] : findings)
    text += "\n  " + path + ":" + std::to_string(line) + ": " + message;
  return text;
}

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') quoted += "'\\''";
    else quoted += c;
  }
  return quoted + "'";
}

int run(const std::string& command) { return std::system(command.c_str()); }  // NOLINT(concurrency-mt-unsafe)

TEST(Repository, IsWhereTheTestLooks) {
  std::set<std::string> paths;
  for (const File& file : files()) paths.insert(file.path);
  EXPECT_TRUE(paths.contains("CMakeLists.txt"));
  EXPECT_TRUE(paths.contains("core/units.hpp"));
  EXPECT_TRUE(paths.contains("tools/setup"));
}

TEST(Repository, IncludesFollowTheDirectionOfTheFolders) {
  std::vector<Finding> findings;
  for (const File& file : files()) {
    if (!is_cpp(file.path) || file.path.starts_with("tools/cmake/")) continue;
    for (Finding& finding : check_includes(file.path, file.contents)) findings.push_back(std::move(finding));
  }
  EXPECT_TRUE(findings.empty()) << listed(findings);
}

TEST(Repository, IncludesOfOursExist) {
  for (const File& file : files()) {
    if (!is_cpp(file.path)) continue;
    std::istringstream lines(file.contents);
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("#include \"") || line.find('/') == std::string::npos) continue;
      const std::string header = line.substr(10, line.find('"', 10) - 10);
      EXPECT_TRUE(fs::is_regular_file(root() / header)) << file.path << " includes " << header;
    }
  }
}

TEST(Repository, TextIsFinishedAndNamesNoMachine) {
  std::vector<Finding> findings;
  for (const File& file : files()) {
    for (Finding& finding : check_text(file.path, file.contents)) findings.push_back(std::move(finding));
  }
  EXPECT_TRUE(findings.empty()) << listed(findings);
}

TEST(Repository, EveryCodeFolderHasAReadme) {
  std::set<std::string> folders{"core", "plan", "sim", "runtime", "calibrate", "tools", "tests"};
  for (const File& file : files()) {
    const auto slash = file.path.find('/');
    if (is_cpp(file.path) && slash != std::string::npos) folders.insert(file.path.substr(0, slash));
  }
  for (const std::string& folder : folders)
    EXPECT_TRUE(fs::is_regular_file(root() / folder / "README.md")) << folder << " has no README.md";
}

TEST(Repository, LinksInMarkdownLeadSomewhere) {
  for (const File& file : files()) {
    if (!file.path.ends_with(".md")) continue;
    for (const std::string& target : local_links(file.contents))
      EXPECT_TRUE(fs::exists((root() / file.path).parent_path() / target)) << file.path << " links to " << target;
  }
}

TEST(Repository, ShellScriptsParseAndCanBeRun) {
  for (const File& file : files()) {
    if (!is_shell_script(file.contents)) continue;
    const fs::path path = root() / file.path;
    EXPECT_EQ(run("bash -n " + shell_quoted(path.string())), 0) << file.path;
    EXPECT_NE(fs::status(path).permissions() & fs::perms::owner_exec, fs::perms::none) << file.path << ": chmod +x";
    EXPECT_NE(file.contents.find("set -euo pipefail"), std::string::npos) << file.path;
  }
}

TEST(Repository, SourcesAreFormatted) {
  if (run("{ clang-format-14 --version || clang-format --version; } 2>/dev/null | grep -q ' version 14\\.'") != 0)
    GTEST_SKIP() << "clang-format 14 is not installed";
  if (run("git -C " + shell_quoted(root().string()) + " rev-parse 2>/dev/null") != 0)
    GTEST_SKIP() << "not a git checkout";
  EXPECT_EQ(run(shell_quoted((root() / "tools/format").string()) + " --check"), 0) << "run tools/format";
}

}  // namespace
}  // namespace foretoken::style
