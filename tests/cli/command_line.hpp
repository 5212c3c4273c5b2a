// foretoken as a test calls it: in this process, or through a shell.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace foretoken::test {

struct Answer {
  int code = -1;
  std::string out;
  std::string err;
};

/// The command with these arguments, in this process.
Answer foretoken_cli(const std::vector<std::string>& arguments);

/// Exit status of a shell's line; 128 + the signal that ended it, as shells say it.
int shell(const std::string& line);

/// The same with what it has written to both of its outputs.
struct Said {
  int code = -1;
  std::string text;
};
Said say(const std::string& line);

/// The built command with these arguments, as a shell takes it. They hold no apostrophes.
std::string shell_line(const std::vector<std::string>& arguments);

/// The bytes of a file; none of one that is not there.
std::string text_of(const std::filesystem::path& file);

}  // namespace foretoken::test
