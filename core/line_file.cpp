#include "core/line_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/error.hpp"

namespace foretoken {
namespace {

Error system_error(const std::filesystem::path& file, std::string_view what, int reason) {
  return input_error(file.string(), "", fmt::format("{}: {}", what, std::strerror(reason)),
                     "check the folder, its permissions and the free space; no line that was written is lost");
}

std::string text_of(const std::filesystem::path& file, int descriptor) {
  std::string text;
  std::array<char, 1 << 16> buffer{};
  for (;;) {
    const ::ssize_t size = ::read(descriptor, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw system_error(file, "cannot be read", errno);
    if (size == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

}  // namespace

std::vector<std::string> whole_lines(std::string_view text) {
  std::vector<std::string> lines;
  for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return lines;
}

LineFile::LineFile(std::filesystem::path file) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw system_error(file_, "cannot be opened", errno);
  try {
    struct ::stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode))
      throw input_error(file_.string(), "", "is no regular file", "name another");
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
      throw input_error(file_.string(), "", "is in use by another process", "wait for its end, or name another");
    const std::string text = text_of(file_, descriptor_);
    const std::size_t last = text.rfind('\n');
    whole_ = last == std::string::npos ? 0 : static_cast<std::int64_t>(last + 1);
    lines_ = whole_lines(text);
    torn_ = text.substr(static_cast<std::size_t>(whole_));
    cut_ = torn_.empty();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

LineFile::~LineFile() { ::close(descriptor_); }

void LineFile::append(std::string_view line) {
  FORETOKEN_CHECK(line.find('\n') == std::string_view::npos, "a line is one line");
  if (!cut_ && ::ftruncate(descriptor_, whole_) != 0) throw system_error(file_, "cannot be cut", errno);
  cut_ = true;
  const std::string text = std::string(line) + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ::ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const int reason = errno;
      cut_ = ::ftruncate(descriptor_, whole_) == 0;
      throw system_error(file_, "cannot be written", reason);
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  whole_ += static_cast<std::int64_t>(text.size());
}

}  // namespace foretoken
