// The scripts of `foretoken completion` in the shells that read them.
//
// bash is there wherever the build is: completions are asked for as readline would, by setting COMP_WORDS and calling
// the function. zsh and fish are skipped where they are not installed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/command_line.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using test::Said;
using test::say;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool have(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null").c_str()) == 0;  // NOLINT(concurrency-mt-unsafe)
}

std::string output_of(const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  EXPECT_EQ(run(arguments, out, err), 0) << err.str();
  return out.str();
}

class Completion : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("foretoken_completion_" + std::to_string(getpid()));
    fs::create_directories(folder_ / "some folder");
    std::ofstream(folder_ / "with a space.json") << "{}";
    std::ofstream(folder_ / "plain.json") << "{}";
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// The script of a shell, as a file.
  std::string script(const std::string& shell) const {
    const fs::path file = folder_ / ("completion." + shell);
    std::ofstream(file) << output_of({"completion", shell});
    return file.string();
  }

  /// What bash proposes for the last of the words, in a folder with two files and a folder.
  std::vector<std::string> proposed(const std::vector<std::string>& words) const {
    const fs::path file = folder_ / "ask.bash";
    std::ofstream ask(file);
    ask << "set -euo pipefail\nsource '" << script("bash") << "'\ncd '" << folder_.string() << "'\nCOMP_WORDS=(";
    for (const std::string& word : words) ask << " '" << word << "'";
    ask << " )\nCOMP_CWORD=" << words.size() - 1 << "\n_foretoken\n"
        << "if ((${#COMPREPLY[@]})); then printf '%s\\n' \"${COMPREPLY[@]}\"; fi\n";
    ask.close();
    const Said said = say("bash '" + file.string() + "'");
    EXPECT_EQ(said.code, 0);
    return lines_of(said.text);
  }

  fs::path folder_;
};

TEST_F(Completion, BashReadsTheScript) {
  EXPECT_EQ(say("bash -n '" + script("bash") + "'").code, 0);
  EXPECT_THAT(lines_of(say("bash -c 'source \"" + script("bash") + "\"; complete -p foretoken'").text),
              ElementsAre("complete -F _foretoken foretoken"));
}

TEST_F(Completion, OfASubcommand) {
  EXPECT_THAT(proposed({"foretoken", "sim"}), ElementsAre("simulate"));
  EXPECT_THAT(proposed({"foretoken", "nosuch"}), IsEmpty());
  EXPECT_THAT(proposed({"foretoken", "calibrate", "fi"}), ElementsAre("fit"));
}

// Whatever help lists is proposed, so that a new command needs no line here.
TEST_F(Completion, KnowsEveryCommandOfHelp) {
  std::istringstream help(output_of({"--help"}));
  std::set<std::string> commands;
  std::string line;
  while (std::getline(help, line) && line != "Subcommands:") continue;
  while (std::getline(help, line) && line.starts_with("  ")) {
    const auto begin = line.find_first_not_of(' ');
    if (begin == 2) commands.insert(line.substr(2, line.find(' ', 2) - 2));
  }
  EXPECT_GE(commands.size(), 7u);
  EXPECT_THAT(proposed({"foretoken", ""}), testing::UnorderedElementsAreArray(commands));
}

TEST_F(Completion, OfAnOption) {
  EXPECT_THAT(proposed({"foretoken", "simulate", "--ca"}), ElementsAre("--calibration"));
  EXPECT_THAT(proposed({"foretoken", "simulate", "x.json", "--set", "a=1", "--fr"}), ElementsAre("--framework"));
  EXPECT_THAT(proposed({"foretoken", "calibrate", "fit", "--d"}), ElementsAre("--device"));
  EXPECT_THAT(proposed({"foretoken", "plan", "-"}),
              AllOf(Contains("--text"), Contains("--help"), Contains("-h"), Not(Contains("--choices"))));
}

TEST_F(Completion, OfAFile) {
  EXPECT_THAT(proposed({"foretoken", "simulate", "pl"}), ElementsAre("plain.json"));
  EXPECT_THAT(proposed({"foretoken", "simulate", "plain.json", "with"}), ElementsAre("with a space.json"));
  EXPECT_THAT(proposed({"foretoken", "simulate", "--out", "pl"}), ElementsAre("plain.json"));
  EXPECT_THAT(proposed({"foretoken", "simulate", "--out", "=", "pl"}), ElementsAre("plain.json"));  // --out=pl
  EXPECT_THAT(proposed({"foretoken", "calibrate", "fit", "--sources", "some"}), ElementsAre("some folder"));
  EXPECT_THAT(proposed({"foretoken", "calibrate", "fit", "--sources", "pl"}), IsEmpty());  // a file is no directory
}

TEST_F(Completion, OfAWord) {
  EXPECT_THAT(proposed({"foretoken", "completion", ""}), ElementsAre("bash", "zsh", "fish"));
  EXPECT_THAT(proposed({"foretoken", "schema", "dev"}), ElementsAre("device"));
  EXPECT_THAT(proposed({"foretoken", "run", "--deadline", ""}), IsEmpty());  // a number: nothing to propose
}

// A file that has the name of a command is a file.
TEST_F(Completion, ValuesAreNoCommands) {
  EXPECT_THAT(proposed({"foretoken", "simulate", "plan", "--ca"}), ElementsAre("--calibration"));
}

TEST_F(Completion, ZshReadsTheScript) {
  if (!have("zsh")) GTEST_SKIP() << "zsh is not installed";
  EXPECT_EQ(say("zsh -n '" + script("zsh") + "'").code, 0);
  EXPECT_THAT(lines_of(say("zsh -fc 'autoload -Uz compinit; compinit -u -D; source \"" + script("zsh") +
                           "\"; print $_comps[foretoken]'")
                           .text),
              ElementsAre("_foretoken"));
}

TEST_F(Completion, FishCompletes) {
  if (!have("fish")) GTEST_SKIP() << "fish is not installed";
  const std::string file = script("fish");
  EXPECT_EQ(say("fish -n '" + file + "'").code, 0);
  const auto fish = [&](const std::string& line) {
    return lines_of(say("fish -N -c 'source \"" + file + "\"; complete -C \"" + line + "\"'").text);
  };
  EXPECT_THAT(fish("foretoken sim"), ElementsAre(StartsWith("simulate\t")));
  EXPECT_THAT(fish("foretoken simulate --ca"), ElementsAre(StartsWith("--calibration\t")));
  EXPECT_THAT(fish("foretoken completion "), ElementsAre("bash", "fish", "zsh"));
}

TEST(CompletionErrors, OtherShellsAreRefused) {
  std::ostringstream out, err;
  EXPECT_EQ(run({"completion", "tcsh"}, out, err), 2);
  EXPECT_EQ(out.str(), "");
  EXPECT_THAT(err.str(), testing::HasSubstr("write one of bash, zsh, fish"));
}

}  // namespace
}  // namespace foretoken::cli
