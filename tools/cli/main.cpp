// The foretoken command. Everything is in cli::run, so that tests can call it.
#include <iostream>
#include <string>
#include <vector>

#include "tools/cli/cli.hpp"

int main(int argc, char** argv) {
  return foretoken::cli::run(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr);
}
