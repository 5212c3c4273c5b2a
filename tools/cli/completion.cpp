// The command line as a tree, then that tree as a script, once per shell.
//
// All three scripts find out in the same way where the cursor is: they follow the words from the left through the tree
// of subcommands, and a word that is none (an option, a file) leaves them where they are. Only commands without
// subcommands take values, so a value is never mistaken for a subcommand.
#include "tools/cli/completion.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/error.hpp"

namespace foretoken::cli {
namespace {

using Words = std::vector<std::string>;

// ---- the tree ------------------------------------------------------------------------------------------------------

enum class Takes { nothing, file, directory, words, anything };

struct Argument {
  Words names;  // "--out", "-o"; for a positional one its name
  std::string description;
  std::string type;  // as help shows it
  Takes takes = Takes::anything;
  Words words;  // for Takes::words
  bool repeatable = false;
};

struct Command {
  std::string path;  // "foretoken calibrate fit"
  std::string name;  // "fit"
  std::string description;
  std::vector<Argument> options;
  std::vector<Argument> positionals;
  std::vector<Command> commands;
};

// Help may go on for a page; what a menu shows is the first line.
std::string menu_line(const std::string& text) { return text.substr(0, text.find('\n')); }

Words words_in_braces(const std::string& type) {
  const auto begin = type.find('{');
  const auto end = type.find('}', begin);
  if (begin == std::string::npos || end == std::string::npos) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

Argument argument_of(const CLI::Option& option) {
  Argument argument;
  for (const std::string& name : option.get_snames()) argument.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) argument.names.push_back("--" + name);
  if (option.get_positional()) argument.names = {option.get_name(true, false)};
  argument.description = menu_line(option.get_description());
  argument.type = option.get_type_name();
  argument.words = words_in_braces(argument.type);
  if (option.get_items_expected_max() == 0) argument.takes = Takes::nothing;
  else if (!argument.words.empty()) argument.takes = Takes::words;
  else if (argument.type == "FILE") argument.takes = Takes::file;
  else if (argument.type == "DIR") argument.takes = Takes::directory;
  argument.repeatable =
      option.get_expected_max() > 1 || option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
  return argument;
}

// The tree has a handful of levels, so the recursion has too.
Command command_of(const CLI::App& app, const std::string& above) {  // NOLINT(misc-no-recursion)
  Command command;
  command.name = app.get_name();
  command.path = above.empty() ? command.name : above + " " + command.name;
  command.description = menu_line(app.get_description());
  for (const CLI::Option* option : app.get_options())
    (option->get_positional() ? command.positionals : command.options).push_back(argument_of(*option));
  for (const CLI::App* one : app.get_subcommands([](const CLI::App*) { return true; }))
    command.commands.push_back(command_of(*one, command.path));
  return command;
}

// The command and all below it, parents first.
void flatten(const Command& command, std::vector<const Command*>& all) {  // NOLINT(misc-no-recursion)
  all.push_back(&command);
  for (const Command& one : command.commands) flatten(one, all);
}

// All three shells read a quoted text literally, but for the quote itself.
std::string quoted(const std::string& text) { return "'" + CLI::detail::find_and_replace(text, "'", "'\\''") + "'"; }

Words names_of(const std::vector<Command>& commands) {
  Words names;
  for (const Command& one : commands) names.push_back(one.name);
  return names;
}

/// Every path below the first command, as the patterns of a `case` of any of the shells.
Words paths_below(const std::vector<const Command*>& all) {
  Words paths;
  for (const Command* command : all)
    if (command != all.front()) paths.push_back(quoted(command->path));
  return paths;
}

// ---- bash ----------------------------------------------------------------------------------------------------------

// A call of the helpers that are defined in the script.
std::string bash_proposal(const Argument& argument) {
  switch (argument.takes) {
    case Takes::file: return "_foretoken_propose -f";
    case Takes::directory: return "_foretoken_propose -d";
    case Takes::words: return "_foretoken_propose -W " + quoted(fmt::format("{}", fmt::join(argument.words, " ")));
    case Takes::nothing:
    case Takes::anything: break;
  }
  return ":";
}

// "=" is a word of its own in COMP_WORDS, so that --out=FILE is seen as --out FILE.
constexpr const char* kBashBegin = R"(# bash completion of foretoken; made by: foretoken completion bash
_foretoken_propose() {
  local proposal
  while IFS= read -r proposal; do COMPREPLY+=("$proposal"); done < <(compgen "$@" -- "$current")
  if [[ $1 != -W ]]; then compopt -o filenames 2>/dev/null || true; fi
}

_foretoken() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD - 1]}" path=foretoken i
  COMPREPLY=()
  if [[ $current == '=' ]]; then current=''; fi
  if [[ $previous == '=' ]]; then previous="${COMP_WORDS[COMP_CWORD - 2]}"; fi
)";

std::string bash_script(const std::vector<const Command*>& all) {
  std::string text = kBashBegin;
  text += fmt::format(
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"$path ${{COMP_WORDS[i]}}\" in\n      {})\n"
      "        path=\"$path ${{COMP_WORDS[i]}}\" ;;\n    esac\n  done\n",
      fmt::join(paths_below(all), " | \\\n      "));
  text += "  case \"$path $previous\" in\n";
  for (const Command* command : all)
    for (const Argument& option : command->options) {
      if (option.takes == Takes::nothing) continue;
      Words patterns;
      for (const std::string& name : option.names) patterns.push_back(quoted(command->path + " " + name));
      text += fmt::format("    {}) {}; return ;;\n", fmt::join(patterns, " | "), bash_proposal(option));
    }
  text += "  esac\n  case \"$path\" in\n";
  for (const Command* command : all) {
    Words options;
    for (const Argument& option : command->options)
      options.insert(options.end(), option.names.begin(), option.names.end());
    text += fmt::format("    {})\n      if [[ $current == -* ]]; then _foretoken_propose -W {}; return; fi\n",
                        quoted(command->path), quoted(fmt::format("{}", fmt::join(options, " "))));
    if (!command->commands.empty())
      text += fmt::format("      _foretoken_propose -W {}\n",
                          quoted(fmt::format("{}", fmt::join(names_of(command->commands), " "))));
    for (const Argument& positional : command->positionals) text += "      " + bash_proposal(positional) + "\n";
    text += "      ;;\n";
  }
  return text + "  esac\n}\n\ncomplete -F _foretoken foretoken\n";
}

// ---- zsh -----------------------------------------------------------------------------------------------------------

// Inside [...] of an option, and before a colon, these would end the text.
std::string zsh_escaped(std::string text) {
  for (const char* special : {"\\", "[", "]", ":"})
    text = CLI::detail::find_and_replace(text, special, std::string("\\") + special);
  return text;
}

// ":message:action" of what an argument takes.
std::string zsh_action(const Argument& argument) {
  const std::string message = ":" + zsh_escaped(argument.takes == Takes::words ? "one of" : argument.type);
  switch (argument.takes) {
    case Takes::nothing: return "";
    case Takes::file: return message + ":_files";
    case Takes::directory: return message + ":_files -/";
    case Takes::words: return fmt::format("{}:({})", message, fmt::join(argument.words, " "));
    case Takes::anything: break;
  }
  return message + ": ";
}

std::string zsh_function_of(const std::string& path) { return "_" + CLI::detail::find_and_replace(path, " ", "_"); }

std::string zsh_function(const Command& command) {
  std::string text = zsh_function_of(command.path) + "() {\n";
  Words specs;
  for (const Argument& option : command.options)
    for (const std::string& name : option.names) {
      // The other names of an option that is given once are not proposed again.
      const std::string once = option.repeatable ? "*" : fmt::format("({})", fmt::join(option.names, " "));
      specs.push_back(quoted(once + name + "[" + zsh_escaped(option.description) + "]" + zsh_action(option)));
    }
  for (std::size_t i = 0; i < command.positionals.size(); ++i) {
    const Argument& positional = command.positionals[i];
    specs.push_back(quoted((positional.repeatable ? "*" : std::to_string(i + 1)) + zsh_action(positional)));
  }
  if (command.commands.empty())
    return text + fmt::format("  _arguments -s \\\n    {}\n}}\n\n", fmt::join(specs, " \\\n    "));
  specs.emplace_back("'1: :->command'");
  specs.emplace_back("'*:: :->argument'");
  text += "  local curcontext=\"$curcontext\" state line\n  typeset -A opt_args\n  local -a commands\n";
  text += fmt::format("  _arguments -C \\\n    {}\n", fmt::join(specs, " \\\n    "));
  text += "  case $state in\n    command)\n      commands=(\n";
  for (const Command& one : command.commands)
    text += "        " + quoted(zsh_escaped(one.name) + ":" + one.description) + "\n";
  text += "      )\n      _describe command commands ;;\n    argument)\n      case $words[1] in\n";
  for (const Command& one : command.commands)
    text += fmt::format("        {}) {} ;;\n", one.name, zsh_function_of(one.path));
  return text + "      esac ;;\n  esac\n}\n\n";
}

// Read from a folder of fpath, the file is the function's body and is called with it; sourced, it only registers it.
std::string zsh_script(const std::vector<const Command*>& all) {
  std::string text = "#compdef foretoken\n# zsh completion of foretoken; made by: foretoken completion zsh\n\n";
  for (const Command* command : all) text += zsh_function(*command);
  return text + "if [[ $funcstack[1] == _foretoken ]]; then _foretoken \"$@\"; else compdef _foretoken foretoken; fi\n";
}

// ---- fish ----------------------------------------------------------------------------------------------------------

// The switches that make fish propose values.
std::string fish_values(const Argument& argument) {
  switch (argument.takes) {
    case Takes::nothing: return "";
    case Takes::file: return " -r -F";
    case Takes::directory: return " -x -a '(__fish_complete_directories)'";
    case Takes::words: return " -x -a " + quoted(fmt::format("{}", fmt::join(argument.words, " ")));
    case Takes::anything: break;
  }
  return " -x";
}

std::string fish_script(const std::vector<const Command*>& all) {
  std::string text = "# fish completion of foretoken; made by: foretoken completion fish\n";
  text += fmt::format(
      "function __foretoken_at\n  set -l path foretoken\n  for word in (commandline -opc)[2..-1]\n"
      "    switch \"$path $word\"\n      case {}\n        set path \"$path $word\"\n    end\n  end\n"
      "  test \"$path\" = \"$argv[1]\"\nend\n\ncomplete -c foretoken -f\n",
      fmt::join(paths_below(all), " "));
  for (const Command* command : all) {
    const std::string at = "complete -c foretoken -n \"__foretoken_at " + quoted(command->path) + "\"";
    for (const Command& one : command->commands)
      text += fmt::format("{} -a {} -d {}\n", at, one.name, quoted(one.description));
    for (const Argument& option : command->options) {
      text += at;
      for (const std::string& name : option.names)
        text += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      text += fish_values(option) + " -d " + quoted(option.description) + "\n";
    }
    for (const Argument& positional : command->positionals) {
      if (positional.takes == Takes::anything) continue;
      // "Requires a value" is a matter of options: an argument is the value itself.
      const std::string values = fish_values(positional);
      text += at + values.substr(values.find(' ', 1)) + "\n";
    }
  }
  return text;
}

}  // namespace

std::vector<std::string> completion_shells() { return {"bash", "zsh", "fish"}; }

std::string completion_script(const CLI::App& app, const std::string& shell) {
  const Command root = command_of(app, "");
  std::vector<const Command*> all;
  flatten(root, all);
  if (shell == "bash") return bash_script(all);
  if (shell == "zsh") return zsh_script(all);
  if (shell == "fish") return fish_script(all);
  throw input_error("completion " + shell, "", "there is no completion for this shell",
                    fmt::format("write one of {}", fmt::join(completion_shells(), ", ")));
}

}  // namespace foretoken::cli
