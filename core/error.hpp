// Errors that a user can act on: where, what was found, what was expected, how to mend it.
//
// Bad input and impossible requests are Errors. Broken invariants of our own are FORETOKEN_CHECK, which stays on in
// release builds and becomes exit code 1. Libraries throw; only tools/cli prints.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace foretoken {

/// The process exit codes, as documented in the README.
enum class ErrorCode {
  internal = 1,
  invalid_input = 2,
  infeasible = 3,
  gate_failed = 4,
  unhealthy = 5,
  rank_failed = 6,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// "<file>#<pointer>: <found>; <expected>", the one form in which every bad input is reported.
///
/// @param file      the file as the user named it, or "--set key=value", or "" when there is none
/// @param pointer   RFC 6901 JSON pointer to the offending value; "" for the whole file
/// @param found     what is wrong, with the value that was found
/// @param expected  what would be right, as an instruction
/// Example: `h200.json#/links/3/bandwidth: "400" has no unit; write "400 Gb/s" or "400 GB/s"`.
[[nodiscard]] Error input_error(std::string_view file, std::string_view pointer, std::string_view found,
                                std::string_view expected);

namespace detail {
[[noreturn]] void check_failed(const char* expression, const char* file, int line, const std::string& message);
}

}  // namespace foretoken

/// States an invariant of our own code. Never for user input.
#define FORETOKEN_CHECK(expression, message)                                                          \
  do {                                                                                                \
    if (!(expression)) ::foretoken::detail::check_failed(#expression, __FILE__, __LINE__, (message)); \
  } while (false)
