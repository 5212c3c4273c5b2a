#include "core/error.hpp"

#include <fmt/format.h>

namespace foretoken {

Error input_error(std::string_view file, std::string_view pointer, std::string_view found, std::string_view expected) {
  std::string where(file);
  if (!pointer.empty()) where += fmt::format("#{}", pointer);
  if (!where.empty()) where += ": ";
  const std::string hint = expected.empty() ? std::string() : fmt::format("; {}", expected);
  return Error(ErrorCode::invalid_input, fmt::format("{}{}{}", where, found, hint));
}

namespace detail {

void check_failed(const char* expression, const char* file, int line, const std::string& message) {
  throw Error(ErrorCode::internal, fmt::format("internal error at {}:{}: {} (invariant {} is broken; please report it)",
                                               file, line, message, expression));
}

}  // namespace detail
}  // namespace foretoken
