// The data files that come with the command.
#pragma once

#include <filesystem>

namespace foretoken::cli {

/// A file that is shipped, by its path in the repository: `topologies/hgx-h100-2nodes-ndr400.json`.
///
/// Looked for beside the command that runs, so that a copied tree works: PREFIX/share/foretoken of PREFIX/bin, then the
/// folders above it, among which a build folder finds its repository; then the current folder.
/// @throws Error{invalid_input} if it is in none of them
std::filesystem::path shipped_file(const std::filesystem::path& path);

}  // namespace foretoken::cli
