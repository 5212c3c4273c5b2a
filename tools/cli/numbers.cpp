#include "tools/cli/numbers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace foretoken::cli {

std::string grouped(double value) {
  const std::string digits = fmt::format("{:.0f}", value);
  const std::size_t sign = digits.front() == '-' ? 1 : 0;
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > sign && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

int decimals_for(double largest) {
  if (!(largest > 0)) return 3;
  return std::clamp(4 - static_cast<int>(std::floor(std::log10(largest))), 1, 9);
}

}  // namespace foretoken::cli
