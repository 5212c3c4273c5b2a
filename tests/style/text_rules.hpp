// What tracked text must not contain. A function of text, so that tests can break the rules.
#pragma once

#include <string_view>
#include <vector>

#include "tests/style/include_rules.hpp"

namespace foretoken::style {

/// Findings in one text file:
///   - absolute paths of somebody's machine (home directories and the like);
///   - paths into a folder outside of the repository that only its authors have;
///   - in code: marks of unfinished work.
///
/// @param path      relative to the repository root; its ending decides whether it is code
/// @param contents  the text of the file
std::vector<Finding> check_text(std::string_view path, std::string_view contents);

/// C++ and CUDA sources.
bool is_cpp(std::string_view path);

/// Text that people write here: code, scripts, data, Markdown. Told by the name and, for scripts, by the first line.
bool is_text(std::string_view path, std::string_view contents);

/// Starts with a #! line of a shell.
bool is_shell_script(std::string_view contents);

/// Targets of Markdown links into the repository, as written, without #anchors; web links are left out.
std::vector<std::string> local_links(std::string_view markdown);

}  // namespace foretoken::style
