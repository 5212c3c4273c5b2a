#include "tests/style/text_rules.hpp"

#include <algorithm>
#include <array>
#include <regex>
#include <sstream>
#include <string>

namespace foretoken::style {
namespace {

struct TextRule {
  std::regex pattern;
  bool code_only;
  std::string_view message;
};

// The patterns are written so that they do not match their own source text.
const std::vector<TextRule>& text_rules() {
  static const std::vector<TextRule> rules = [] {
    std::vector<TextRule> list;
    // Preceded by a letter or '#' it is a relative path or a JSON pointer.
    list.push_back({std::regex("(^|[^A-Za-z0-9_.#/~*-])/(home|root|work|Users|mnt|scratch)/[A-Za-z0-9_.]"), false,
                    "absolute path of a machine"});
    list.push_back({std::regex("(^|[^A-Za-z0-9_-])shared/[A-Za-z]"), false, "path into a folder that is not ours"});
    list.push_back({std::regex("\\b(TO"
                               "DO|FIX"
                               "ME|XX"
                               "X|HA"
                               "CK)\\b"),
                    true, "unfinished work: finish it or open an issue"});
    return list;
  }();
  return rules;
}

bool ends_with_any(std::string_view path, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) { return path.ends_with(ending); });
}

}  // namespace

bool is_cpp(std::string_view path) { return ends_with_any(path, {".cpp", ".hpp", ".cu", ".cuh"}); }

bool is_shell_script(std::string_view contents) {
  const std::string_view first = contents.substr(0, contents.find('\n'));
  return first.starts_with("#!") && first.ends_with("sh");
}

bool is_text(std::string_view path, std::string_view contents) {
  return is_cpp(path) || is_shell_script(contents) ||
         ends_with_any(path,
                       {".md", ".json", ".txt", ".cmake", ".py", ".csv", ".golden", ".yml", ".yaml", ".gitignore"});
}

std::vector<Finding> check_text(std::string_view path, std::string_view contents) {
  const bool code =
      is_cpp(path) || is_shell_script(contents) || ends_with_any(path, {".cmake", ".py", "CMakeLists.txt"});
  std::vector<Finding> findings;
  std::istringstream lines{std::string(contents)};
  std::string text;
  for (int line = 1; std::getline(lines, text); ++line) {
    for (const TextRule& rule : text_rules()) {
      if ((code || !rule.code_only) && std::regex_search(text, rule.pattern))
        findings.push_back({std::string(path), line, std::string(rule.message) + ": " + text});
    }
  }
  return findings;
}

std::vector<std::string> local_links(std::string_view markdown) {
  static const std::regex link(R"(\]\(([^)\s#]+)(?:#[^)\s]*)?\))");
  const std::string text(markdown);
  std::vector<std::string> targets;
  for (std::sregex_iterator match(text.begin(), text.end(), link), end; match != end; ++match) {
    const std::string target = (*match)[1];
    if (target.find(':') == std::string::npos) targets.push_back(target);
  }
  return targets;
}

}  // namespace foretoken::style
