#include "tools/cli/shipped_data.hpp"

#include <system_error>
#include <vector>

#include "core/error.hpp"

namespace foretoken::cli {

std::filesystem::path shipped_file(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  std::error_code status;
  std::vector<fs::path> folders;
  const fs::path command = fs::read_symlink("/proc/self/exe", status);  // Linux
  if (!status) {
    fs::path above = command.parent_path();
    folders.push_back(above.parent_path() / "share" / "foretoken");
    constexpr int levels = 3;
    for (int level = 0; level < levels; ++level) folders.push_back(above = above.parent_path());
  }
  folders.emplace_back(".");
  for (const fs::path& folder : folders)
    if (fs::is_regular_file(folder / path, status)) return (folder / path).lexically_normal();
  throw input_error(path.string(), "", "is neither beside this command nor in the current folder",
                    "name a machine with --topology FILE");
}

}  // namespace foretoken::cli
