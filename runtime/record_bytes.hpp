// A rank's record as bytes, for the launcher's messages: numbers and texts, one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "runtime/rank_run.hpp"

namespace foretoken::runtime {

class ByteWriter {
 public:
  void number(std::int64_t value) { append(&value, sizeof value); }
  template <class T>
  void numbers(const std::vector<T>& values) {
    number(static_cast<std::int64_t>(values.size()));
    append(values.data(), values.size() * sizeof(T));
  }
  void text(const std::string& value) { numbers(std::vector<char>(value.begin(), value.end())); }
  [[nodiscard]] const std::vector<char>& bytes() const { return bytes_; }

 private:
  void append(const void* data, std::size_t size) {
    const auto* const begin = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }
  std::vector<char> bytes_;
};

/// Reads what ByteWriter wrote, in the same order; bytes that end too early are a broken invariant.
class ByteReader {
 public:
  explicit ByteReader(std::span<const char> bytes) : bytes_(bytes) {}
  std::int64_t number() {
    std::int64_t value = 0;
    take(&value, sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> numbers() {
    const auto count = static_cast<std::size_t>(number());
    FORETOKEN_CHECK(count <= bytes_.size() / sizeof(T), "a rank's record is cut short");
    std::vector<T> values(count);
    take(values.data(), count * sizeof(T));
    return values;
  }
  std::string text() {
    const auto characters = numbers<char>();
    return {characters.begin(), characters.end()};
  }

 private:
  void take(void* target, std::size_t size) {
    FORETOKEN_CHECK(size <= bytes_.size(), "a rank's record is cut short");
    if (size > 0) std::memcpy(target, bytes_.data(), size);
    bytes_ = bytes_.subspan(size);
  }
  std::span<const char> bytes_;
};

void write(ByteWriter& writer, const RankRecord& record);
RankRecord read_record(ByteReader& reader);

}  // namespace foretoken::runtime
