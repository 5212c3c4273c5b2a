// Quantities as people write them: "400 Gb/s", "80 GiB", "1.5 us", "989 TFLOP/s", "10 %".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/units.hpp"

namespace foretoken {

/// Each parser returns nothing when the text is not `<number> <unit>` with a unit of that dimension, or the value is
/// not finite. Units are case-sensitive: `Gb` is bits, `GB` bytes. Bytes round to the nearest whole byte.
std::optional<Bytes> parse_bytes(std::string_view text);
std::optional<BytesPerSecond> parse_bandwidth(std::string_view text);
std::optional<Seconds> parse_duration(std::string_view text);
std::optional<FlopsPerSecond> parse_flop_rate(std::string_view text);
/// "25 %" is 0.25.
std::optional<double> parse_percentage(std::string_view text);

/// Short human forms: "16.8 MB", "49.0 GB/s", "8.31 ms", "2.50 us".
std::string to_text(Bytes size);
std::string to_text(BytesPerSecond rate);
std::string to_text(Seconds time);

}  // namespace foretoken
