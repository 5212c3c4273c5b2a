// Files that are written whole or not at all.
#pragma once

#include <filesystem>
#include <string_view>

namespace foretoken::cli {

/// Writes beside the target and renames over it, so that a reader, a kill or a full disk never leaves half a file.
/// Targets that are no regular files (a pipe, /dev/stdout) are written to directly.
/// @throws Error{invalid_input} naming the file and the system's reason
void write_file(const std::filesystem::path& target, std::string_view text);

}  // namespace foretoken::cli
