#include "tools/planning/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"

namespace foretoken::planning {
namespace {

using Json = nlohmann::ordered_json;

Error bad(const std::filesystem::path& file, std::string_view found, std::string_view expected) {
  return input_error("--journal " + file.string(), "", found, expected);
}

Error system_error(const std::filesystem::path& file, std::string_view what) {
  return bad(file, fmt::format("{}: {}", what, std::strerror(errno)),
             "check the directory, its permissions and the free space");
}

std::string text_of(const std::filesystem::path& file, int descriptor) {
  std::string text;
  std::array<char, 1 << 16> buffer{};
  for (;;) {
    const ::ssize_t size = ::read(descriptor, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw system_error(file, "cannot be read");
    if (size == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

}  // namespace

Journal::Journal(std::filesystem::path file, const std::string& sweep, std::size_t points) : file_(std::move(file)) {
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw system_error(file_, "cannot be opened");
  try {
    struct ::stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode))
      throw bad(file_, "is no regular file", "name a file of its own for the sweep");
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
      throw bad(file_, "is in use by another sweep", "wait for its end, or name another file");
    const Json header{{"kind", "sweep-journal"}, {"schema_version", 1}, {"sweep", sweep}, {"points", points}};
    read(header.dump(), points);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

Journal::~Journal() { ::close(descriptor_); }

void Journal::read(const std::string& header, std::size_t points) {
  const std::string text = text_of(file_, descriptor_);
  const auto first = text.find('\n');
  if (first == std::string::npos) {
    // Nothing, or what a kill left of our own first line.
    if (!(header + "\n").starts_with(text))
      throw bad(file_, "is no journal of a sweep", "name another file, which is begun anew");
    if (::ftruncate(descriptor_, 0) != 0) throw system_error(file_, "cannot be cut");
    append(header);
    return;
  }
  if (text.substr(0, first) != header) {
    const auto other = nlohmann::json::parse(text.substr(0, first), nullptr, false);
    const bool journal = other.is_object() && other.value("kind", nlohmann::json()) == "sweep-journal";
    throw bad(file_, journal ? "is the journal of another sweep" : "is no journal of a sweep",
              journal ? "name another file: fields, values, scenario, machine, calibration and program must be the same"
                      : "name another file, which is begun anew");
  }
  std::size_t begin = first + 1;
  for (std::size_t line = 2; begin < text.size(); ++line) {
    const auto end = text.find('\n', begin);
    const auto json =
        nlohmann::json::parse(text.substr(begin, end == std::string::npos ? end : end - begin), nullptr, false);
    const bool whole = end != std::string::npos && json.is_object() && json.contains("point") &&
                       json.at("point").is_number_unsigned() && json.at("point").get<std::size_t>() < points &&
                       json.contains("result") && json.at("result").is_object();
    if (!whole) {
      if (end != std::string::npos && end + 1 < text.size())
        throw bad(file_, fmt::format("line {} is damaged, and others follow", line),
                  "take the line away: its point is computed again");
      break;
    }
    // In the order of its members, as it was written.
    const Json ordered = Json::parse(text.substr(begin, end - begin));
    known_[ordered.at("point").get<std::size_t>()] = ordered.at("result").dump();
    begin = end + 1;
  }
  if (begin < text.size() && ::ftruncate(descriptor_, static_cast<::off_t>(begin)) != 0)
    throw system_error(file_, "its damaged last line cannot be cut off");
}

void Journal::add(std::size_t point, const std::string& result) {
  append(fmt::format(R"({{"point":{},"result":{}}})", point, result));
}

void Journal::append(const std::string& line) const {
  const std::string text = line + "\n";
  std::string_view rest = text;
  while (!rest.empty()) {
    const ::ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error(file_, "cannot be written");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace foretoken::planning
