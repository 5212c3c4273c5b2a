#include "core/quantity_text.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <utility>

namespace foretoken {
namespace {

using Unit = std::pair<std::string_view, double>;

constexpr std::array<Unit, 11> kByteUnits{{{"B", 1},
                                           {"kB", 1e3},
                                           {"KB", 1e3},
                                           {"MB", 1e6},
                                           {"GB", 1e9},
                                           {"TB", 1e12},
                                           {"KiB", 1024.0},
                                           {"MiB", 1048576.0},
                                           {"GiB", 1073741824.0},
                                           {"TiB", 1099511627776.0},
                                           {"bytes", 1}}};
constexpr std::array<Unit, 11> kBandwidthUnits{{{"B/s", 1},
                                                {"kB/s", 1e3},
                                                {"MB/s", 1e6},
                                                {"GB/s", 1e9},
                                                {"TB/s", 1e12},
                                                {"MiB/s", 1048576.0},
                                                {"GiB/s", 1073741824.0},
                                                {"kb/s", 1e3 / 8},
                                                {"Mb/s", 1e6 / 8},
                                                {"Gb/s", 1e9 / 8},
                                                {"Tb/s", 1e12 / 8}}};
constexpr std::array<Unit, 5> kTimeUnits{{{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"ps", 1e-12}}};
constexpr std::array<Unit, 4> kFlopUnits{{{"MFLOP/s", 1e6}, {"GFLOP/s", 1e9}, {"TFLOP/s", 1e12}, {"PFLOP/s", 1e15}}};

std::optional<double> parse(std::string_view text, std::span<const Unit> units) {
  double number = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc() || !std::isfinite(number)) return std::nullopt;
  std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const auto& [name, factor] : units) {
    if (unit == name && std::isfinite(number * factor)) return number * factor;
  }
  return std::nullopt;
}

// Largest unit in which the value is at least one; three significant digits.
std::string scaled(double value, std::span<const Unit> units) {
  Unit best = units.front();
  for (const Unit& unit : units) {
    if (std::abs(value) >= unit.second * 0.9995 || unit.second < best.second) best = unit;
  }
  const double shown = value / best.second;
  const int decimals = std::abs(shown) >= 99.95 ? 0 : std::abs(shown) >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", shown, decimals, best.first);
}

}  // namespace

std::optional<Bytes> parse_bytes(std::string_view text) {
  const auto value = parse(text, kByteUnits);
  if (!value || std::abs(*value) > 9e18) return std::nullopt;
  return Bytes(std::llround(*value));
}

std::optional<BytesPerSecond> parse_bandwidth(std::string_view text) {
  const auto value = parse(text, kBandwidthUnits);
  return value ? std::optional(BytesPerSecond(*value)) : std::nullopt;
}

std::optional<Seconds> parse_duration(std::string_view text) {
  const auto value = parse(text, kTimeUnits);
  return value ? std::optional(Seconds(*value)) : std::nullopt;
}

std::optional<FlopsPerSecond> parse_flop_rate(std::string_view text) {
  const auto value = parse(text, kFlopUnits);
  return value ? std::optional(FlopsPerSecond(*value)) : std::nullopt;
}

std::optional<double> parse_percentage(std::string_view text) {
  static constexpr std::array<Unit, 1> units{{{"%", 0.01}}};
  return parse(text, units);
}

std::string to_text(Bytes size) {
  static constexpr std::array<Unit, 5> units{{{"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}};
  if (std::abs(size.value()) < 1000) return fmt::format("{} B", size.value());
  return scaled(static_cast<double>(size.value()), units);
}

std::string to_text(BytesPerSecond rate) {
  static constexpr std::array<Unit, 5> units{{{"B/s", 1}, {"kB/s", 1e3}, {"MB/s", 1e6}, {"GB/s", 1e9}, {"TB/s", 1e12}}};
  return scaled(rate.value(), units);
}

std::string to_text(Seconds time) {
  static constexpr std::array<Unit, 4> units{{{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}}};
  return scaled(time.value(), units);
}

}  // namespace foretoken
