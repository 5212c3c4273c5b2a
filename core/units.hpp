// Quantities with their unit in the type, so that wrong arithmetic does not compile.
//
// What is here: Bytes, Flops, Seconds, BytesPerSecond, FlopsPerSecond and SimTime, with only the operators that mean
// something (bytes / rate = time). Conversions from text ("400 Gb/s") are in core/quantity_text.hpp.
// GB is 10^9 bytes, GiB is 2^30 bytes, Gb is 10^9 bits.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>

namespace foretoken {

/// A number with a unit: `Tag` names the unit, `Rep` holds the value. Explicit in, explicit out (`.value()`).
template <class Tag, class Rep>
class Quantity {
 public:
  using rep = Rep;

  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : value_(value) {}

  [[nodiscard]] constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Quantity&) const = default;

  constexpr Quantity& operator+=(Quantity other) {
    value_ += other.value_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    value_ -= other.value_;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.value_ + b.value_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.value_ - b.value_); }
  friend constexpr Quantity operator*(Quantity a, Rep factor) { return Quantity(a.value_ * factor); }
  friend constexpr Quantity operator*(Rep factor, Quantity a) { return Quantity(a.value_ * factor); }
  friend constexpr Quantity operator/(Quantity a, Rep divisor) { return Quantity(a.value_ / divisor); }

 private:
  Rep value_{};
};

/// Dimensionless ratio of two quantities of one unit.
template <class Tag, class Rep>
constexpr double ratio(Quantity<Tag, Rep> a, Quantity<Tag, Rep> b) {
  return static_cast<double>(a.value()) / static_cast<double>(b.value());
}

using Bytes = Quantity<struct BytesTag, std::int64_t>;
using Flops = Quantity<struct FlopsTag, double>;
using Seconds = Quantity<struct SecondsTag, double>;
using BytesPerSecond = Quantity<struct BytesPerSecondTag, double>;
using FlopsPerSecond = Quantity<struct FlopsPerSecondTag, double>;

/// Simulated time in integer picoseconds: 2^63 ps are 106 days.
using SimTime = Quantity<struct SimTimeTag, std::int64_t>;

/// The numbers that reports write.
constexpr double milliseconds(Seconds time) { return time.value() * 1e3; }
constexpr double microseconds(Seconds time) { return time.value() * 1e6; }

constexpr Seconds operator/(Bytes size, BytesPerSecond rate) {
  return Seconds(static_cast<double>(size.value()) / rate.value());
}
constexpr Seconds operator/(Flops work, FlopsPerSecond rate) { return Seconds(work.value() / rate.value()); }
constexpr BytesPerSecond operator/(Bytes size, Seconds time) {
  return BytesPerSecond(static_cast<double>(size.value()) / time.value());
}

constexpr double kPicosecondsPerSecond = 1e12;

/// Nearest picosecond; times beyond the representable 106 days saturate.
inline SimTime to_sim_time(Seconds time) {
  const double ps = time.value() * kPicosecondsPerSecond;
  constexpr double limit = 9.2e18;
  if (!(ps < limit)) return SimTime(std::numeric_limits<std::int64_t>::max());
  return SimTime(std::llround(ps));
}
constexpr Seconds to_seconds(SimTime time) {
  return Seconds(static_cast<double>(time.value()) / kPicosecondsPerSecond);
}

namespace literals {
constexpr Bytes operator""_B(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v)); }
constexpr Bytes operator""_KiB(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v) << 10); }
constexpr Bytes operator""_MiB(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v) << 20); }
constexpr Bytes operator""_GiB(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v) << 30); }
constexpr Bytes operator""_MB(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v) * 1'000'000); }
constexpr Bytes operator""_GB(unsigned long long v) { return Bytes(static_cast<std::int64_t>(v) * 1'000'000'000); }
constexpr Seconds operator""_us(long double v) { return Seconds(static_cast<double>(v) * 1e-6); }
constexpr Seconds operator""_us(unsigned long long v) { return Seconds(static_cast<double>(v) * 1e-6); }
constexpr Seconds operator""_ms(unsigned long long v) { return Seconds(static_cast<double>(v) * 1e-3); }
constexpr BytesPerSecond operator""_GBps(unsigned long long v) { return BytesPerSecond(static_cast<double>(v) * 1e9); }
}  // namespace literals

}  // namespace foretoken
