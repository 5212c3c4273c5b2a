// Files that are written whole or not at all.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace foretoken::cli {

/// Writes beside the target and renames over it, so that a reader, a kill or a full disk never leaves half a file.
/// Targets that are no regular files (a pipe, /dev/stdout) are written to directly.
/// @throws Error{invalid_input} naming the file and the system's reason
void write_file(const std::filesystem::path& target, std::string_view text);

struct FileText {
  std::filesystem::path target;
  std::string text;
};

/// Several regular files that belong together: all are written beside their targets before the first is renamed, in
/// order.
/// @throws as write_file; then none has changed, unless a rename itself fails
void write_files(std::span<const FileText> files);

/// What write_file would throw for want of a directory, a permission or any space at all: to be asked before long work.
void require_writable(const std::filesystem::path& target);

}  // namespace foretoken::cli
