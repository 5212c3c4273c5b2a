#include "tests/style/include_rules.hpp"

#include <algorithm>
#include <array>
#include <regex>
#include <sstream>

namespace foretoken::style {
namespace {

struct FolderRule {
  std::string_view folder;
  std::vector<std::string_view> may_include;
};

// The longest matching folder decides.
const std::vector<FolderRule>& folder_rules() {
  static const std::vector<FolderRule> rules{
      {"core/", {"core/"}},
      {"plan/", {"core/", "plan/"}},
      {"sim/", {"core/", "plan/", "sim/"}},
      {"runtime/", {"core/", "plan/", "runtime/"}},
      {"calibrate/", {"core/", "plan/", "sim/", "calibrate/"}},
      {"calibrate/measure/", {"core/", "plan/", "sim/", "runtime/", "calibrate/"}},
      {"tools/", {"core/", "plan/", "sim/", "runtime/", "calibrate/", "tools/"}},
      {"tests/", {"core/", "plan/", "sim/", "runtime/", "calibrate/", "tools/", "tests/"}},
  };
  return rules;
}

struct LibraryRule {
  std::string_view name;
  std::string_view header;  // regular expression, matched at the start of the header's name
  std::string_view home;    // regular expression of the paths that may include it
};

constexpr std::array<LibraryRule, 4> kLibraryRules{{
    {"Boost.Graph", "boost/(graph|property_map)/", R"((plan/machine/[^/]*\.cpp$|tests/))"},
    {"CUDA or NCCL", "(cuda|cublas|cudnn|curand|cusparse|cooperative_groups|cub/|thrust/|nccl|nvml|nvtx|nvToolsExt)",
     "(runtime/cuda/|calibrate/measure/|tests/)"},
    {"MPI", R"((openmpi/)?mpi(\.h|-ext\.h|_))", "(runtime/|tools/planning/|tests/)"},
    {"CLI11", "CLI(/|11)", "(tools/cli/|tests/)"},
}};

// Headers that the build writes.
constexpr std::string_view kVersionHeader = "foretoken_version.hpp";
constexpr std::string_view kVersionHeaderUser = "tools/cli/version.cpp";
constexpr std::string_view kPlacesHeader = "foretoken_places.hpp";

bool starts_like(std::string_view text, std::string_view pattern) {
  return std::regex_search(std::string(text), std::regex(std::string(pattern)), std::regex_constants::match_continuous);
}

const FolderRule* rule_of(std::string_view path) {
  const FolderRule* found = nullptr;
  for (const FolderRule& rule : folder_rules()) {
    if (path.starts_with(rule.folder) && (!found || rule.folder.size() > found->folder.size())) found = &rule;
  }
  return found;
}

// What is wrong with `path` including `header`; empty if nothing.
std::string verdict(std::string_view path, const FolderRule& rule, std::string_view header, bool quoted) {
  const std::string named = "\"" + std::string(header) + "\"";
  for (const LibraryRule& library : kLibraryRules) {
    if (starts_like(header, library.header))
      return starts_like(path, library.home)
                 ? ""
                 : named + " is " + std::string(library.name) + "; only " + std::string(library.home) + " may see it";
  }
  const bool ours = rule_of(header) != nullptr;
  if (!quoted && !ours) return "";
  if (!quoted) return named + " is ours; include it in quotes";
  if (header == kVersionHeader)
    return path == kVersionHeaderUser ? "" : named + " changes with every commit; include tools/cli/version.hpp";
  if (header == kPlacesHeader)
    return path.starts_with("tests/") ? "" : named + " is of the clone that was built, and only tests are run in it";
  if (!ours) return named + " is not named from the repository root; quotes are for our own headers";
  if (header.ends_with(".cpp")) return named + " is a source file; include a header";
  const bool allowed = std::any_of(rule.may_include.begin(), rule.may_include.end(),
                                   [&](std::string_view folder) { return header.starts_with(folder); });
  return allowed ? "" : std::string(rule.folder) + " must not include " + named;
}

}  // namespace

std::vector<Finding> check_includes(std::string_view path, std::string_view contents) {
  const FolderRule* rule = rule_of(path);
  if (!rule) return {{std::string(path), 0, "code outside of the folders that have an include rule"}};

  static const std::regex directive(R"(^\s*#\s*include\s*(.*)$)");
  static const std::regex name(R"re(^(?:<([^>]+)>|"([^"]+)").*$)re");
  std::vector<Finding> findings;
  std::istringstream lines{std::string(contents)};
  std::string text;
  for (int line = 1; std::getline(lines, text); ++line) {
    std::smatch include;
    if (!std::regex_match(text, include, directive)) continue;
    const std::string target = include[1];
    std::smatch header;
    std::string message;
    if (!std::regex_match(target, header, name)) {
      message = "an include whose file is named by a macro cannot be checked; name the file";
    } else {
      const bool quoted = header[2].matched;
      message = verdict(path, *rule, header[quoted ? 2 : 1].str(), quoted);
    }
    if (!message.empty()) findings.push_back({std::string(path), line, message});
  }
  return findings;
}

}  // namespace foretoken::style
