// What makes a shell complete foretoken's arguments, made from the description of the command line itself.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace foretoken::cli {

/// The shells that completion_script() knows.
std::vector<std::string> completion_shells();

/// A completion script for a command and all its subcommands: their names, their options, and for what an option or
/// argument takes, files, directories or a list of words. Nothing of it is written by hand.
///
/// What an argument takes is read from its type name, as help shows it: FILE, DIR, or words in braces
/// ("{bash,zsh,fish}"; CLI::IsMember puts them there too). Of any other type nothing is proposed.
///
/// @param shell one of completion_shells()
/// @throws Error{invalid_input} if it is another
/// Example: completion_script(app, "bash"), stored where bash-completion looks, or sourced
std::string completion_script(const CLI::App& app, const std::string& shell);

}  // namespace foretoken::cli
