#include "tools/cli/calibration_folder.hpp"

#include <fmt/format.h>

#include <ctime>
#include <system_error>

#include "core/error.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {

std::filesystem::path parts_file(const std::filesystem::path& folder, bool whole, std::string_view launch) {
  return folder / fmt::format("{}{}.jsonl", whole ? "raw-samples" : "unfinished", launch);
}

void make_calibration_folder(const std::filesystem::path& folder, std::span<const char* const> files) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    throw input_error("--out " + folder.string(), "", failed.message(), "name a folder that exists or can be made");
  for (const char* name : files) require_writable(folder / name);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm date{};
  gmtime_r(&now, &date);
  return fmt::format("{:04}-{:02}-{:02}", date.tm_year + 1900, date.tm_mon + 1, date.tm_mday);
}

}  // namespace foretoken::cli
