#include "tools/cli/write_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <system_error>

#include "core/error.hpp"

namespace foretoken::cli {
namespace {

[[noreturn]] void fail(const std::filesystem::path& target, const char* what, int reason) {
  throw input_error(target.string(), "", fmt::format("{}: {}", what, std::strerror(reason)),
                    "check the directory, its permissions and the free space; nothing was changed");
}

/// A file descriptor that is closed, and whose file is removed unless it was kept.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::filesystem::path& target) : target_(target), path_(target.string() + ".XXXXXX") {
    descriptor_ = ::mkstemp(path_.data());
    if (descriptor_ < 0) fail(target_, "cannot be created", errno);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  void write(std::string_view text) const {
    while (!text.empty()) {
      const ::ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(target_, "cannot be written", errno);
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  // mkstemp makes files that only the owner may read; results are for everyone whom the umask allows.
  void keep() {
    const ::mode_t mask = ::umask(0);
    ::umask(mask);
    if (::fchmod(descriptor_, 0666 & ~mask) != 0 || ::fsync(descriptor_) != 0)
      fail(target_, "cannot be written", errno);
    const int closed = ::close(descriptor_);
    descriptor_ = -1;
    if (closed != 0) fail(target_, "cannot be written", errno);
    if (::rename(path_.c_str(), target_.c_str()) != 0) fail(target_, "cannot be replaced", errno);
    path_.clear();
  }

 private:
  std::filesystem::path target_;
  std::string path_;
  int descriptor_ = -1;
};

void write_directly(const std::filesystem::path& target, std::string_view text) {
  const int descriptor = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail(target, "cannot be opened", errno);
  while (!text.empty()) {
    const ::ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      ::close(descriptor);
      fail(target, "cannot be written", reason);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  ::close(descriptor);
}

// Where a regular file is written, or nothing if the target is of another kind. A symbolic link keeps pointing where it
// did: its target is replaced.
std::optional<std::filesystem::path> regular_target(const std::filesystem::path& target) {
  std::error_code status;
  const auto kind = std::filesystem::status(target, status).type();
  if (kind == std::filesystem::file_type::directory) fail(target, "cannot be written", EISDIR);
  if (kind != std::filesystem::file_type::not_found && kind != std::filesystem::file_type::regular) return std::nullopt;
  const std::filesystem::path real =
      kind == std::filesystem::file_type::regular ? std::filesystem::canonical(target, status) : target;
  return real.empty() ? target : real;
}

}  // namespace

void write_file(const std::filesystem::path& target, std::string_view text) {
  const auto real = regular_target(target);
  if (!real) return write_directly(target, text);
  TemporaryFile file(*real);
  file.write(text);
  file.keep();
}

void write_files(std::span<const FileText> files) {
  std::deque<TemporaryFile> written;
  for (const FileText& file : files) {
    const auto real = regular_target(file.target);
    if (!real) fail(file.target, "is no regular file", EINVAL);
    written.emplace_back(*real).write(file.text);
  }
  for (TemporaryFile& file : written) file.keep();
}

void require_writable(const std::filesystem::path& target) {
  if (const auto real = regular_target(target)) TemporaryFile(*real).write("\n");
}

}  // namespace foretoken::cli
