#include "tools/planning/prices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "core/error.hpp"

namespace foretoken::planning {
namespace {

constexpr double kMost = 1e6;

/// A number of at least 0 and what stands after it, without the spaces between.
std::optional<std::pair<double, std::string>> number_and_unit(std::string_view text) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0 || number > kMost) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return std::pair(number, std::string(text));
}

}  // namespace

Price read_price(std::string_view text) {
  const auto parts = number_and_unit(text);
  const auto fail = [&](std::string_view found) {
    return input_error(fmt::format("--price {}", text), "", found,
                       "write what a GPU costs by the hour: \"2.50 USD/h\"");
  };
  if (!parts) throw fail(fmt::format("is no amount from 0 to {:g}", kMost));
  const std::string& unit = parts->second;
  if (unit.empty()) throw fail("has no unit");
  const std::size_t slash = unit.find('/');
  const std::string currency = unit.substr(0, slash);
  const bool letters = !currency.empty() && currency.size() <= 8 &&
                       std::all_of(currency.begin(), currency.end(),
                                   [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); });
  if (!letters || slash == std::string::npos || unit.substr(slash) != "/h")
    throw fail(fmt::format("has the unit \"{}\"", unit));
  return {parts->first, currency};
}

double read_watts(std::string_view text) {
  const auto parts = number_and_unit(text);
  const auto fail = [&](std::string_view found) {
    return input_error(fmt::format("--watts {}", text), "", found, "write what a GPU draws: \"700 W\" or \"0.7 kW\"");
  };
  if (!parts) throw fail(fmt::format("is no power from 0 to {:g}", kMost));
  if (parts->second.empty()) throw fail("has no unit");
  if (parts->second == "W") return parts->first;
  if (parts->second == "kW") return parts->first * 1e3;
  throw fail(fmt::format("has the unit \"{}\"", parts->second));
}

}  // namespace foretoken::planning
