#include "tests/cli/command_line.hpp"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "foretoken_places.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::test {
namespace {

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

}  // namespace

Answer foretoken_cli(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  const int code = cli::run(arguments, out, err);
  return {code, out.str(), err.str()};
}

int shell(const std::string& line) {
  return code_of(std::system(line.c_str()));  // NOLINT(concurrency-mt-unsafe)
}

Said say(const std::string& line) {
  Said said;
  FILE* const pipe = popen(("(" + line + ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return said;
  char buffer[4096];
  for (std::size_t size = 0; (size = fread(buffer, 1, sizeof buffer, pipe)) > 0;) said.text.append(buffer, size);
  said.code = code_of(pclose(pipe));
  return said;
}

std::string shell_line(const std::vector<std::string>& arguments) {
  std::string line = "'" + std::string(FORETOKEN_BINARY) + "'";
  for (const std::string& argument : arguments) line += " '" + argument + "'";
  return line;
}

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace foretoken::test
