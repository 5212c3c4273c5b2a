#include "core/quantity_text.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace foretoken {
namespace {

// GB is 10^9 bytes, GiB 2^30, Gb 10^9 bits = 1.25 x 10^8 bytes.
TEST(ParseBytes, KnowsDecimalAndBinaryUnits) {
  EXPECT_EQ(parse_bytes("80 GB"), Bytes(80'000'000'000));
  EXPECT_EQ(parse_bytes("80 GiB"), Bytes(85'899'345'920));
  EXPECT_EQ(parse_bytes("1 TiB"), Bytes(1'099'511'627'776));
  EXPECT_EQ(parse_bytes("50 MB"), Bytes(50'000'000));
  EXPECT_EQ(parse_bytes("4 KiB"), Bytes(4096));
  EXPECT_EQ(parse_bytes("7 B"), Bytes(7));
  EXPECT_EQ(parse_bytes("0 B"), Bytes(0));
}

TEST(ParseBytes, RoundsToWholeBytes) {
  EXPECT_EQ(parse_bytes("0.6 B"), Bytes(1));
  EXPECT_EQ(parse_bytes("1.5 KiB"), Bytes(1536));
  EXPECT_EQ(parse_bytes("1e3 B"), Bytes(1000));
}

// 2^63 is 9.22e18: more bytes than that cannot be counted, and wrapping around would be worse than refusing.
TEST(ParseBytes, RefusesWhatDoesNotFit) {
  EXPECT_EQ(parse_bytes("1e12 TB"), std::nullopt);
  EXPECT_EQ(parse_bytes("-1e12 TB"), std::nullopt);
  EXPECT_EQ(parse_bytes("1e400 B"), std::nullopt);
  EXPECT_TRUE(parse_bytes("9 TB").has_value());
}

TEST(ParseBandwidth, TellsBitsFromBytes) {
  EXPECT_EQ(parse_bandwidth("400 Gb/s"), BytesPerSecond(50e9));
  EXPECT_EQ(parse_bandwidth("400 GB/s"), BytesPerSecond(400e9));
  EXPECT_EQ(parse_bandwidth("3.35 TB/s"), BytesPerSecond(3.35e12));
  EXPECT_EQ(parse_bandwidth("1 GiB/s"), BytesPerSecond(1073741824.0));
}

TEST(ParseDuration, KnowsSecondsToPicoseconds) {
  EXPECT_EQ(parse_duration("2 s"), Seconds(2));
  EXPECT_EQ(parse_duration("20 ms"), Seconds(20 * 1e-3));
  EXPECT_EQ(parse_duration("1.5 us"), Seconds(1.5 * 1e-6));
  EXPECT_EQ(parse_duration("150 ns"), Seconds(150 * 1e-9));
  EXPECT_EQ(parse_duration("3 ps"), Seconds(3 * 1e-12));
}

TEST(ParseFlopRate, KnowsTeraflops) { EXPECT_EQ(parse_flop_rate("989 TFLOP/s"), FlopsPerSecond(989e12)); }

class NotABandwidth : public ::testing::TestWithParam<const char*> {};

TEST_P(NotABandwidth, IsRefused) { EXPECT_EQ(parse_bandwidth(GetParam()), std::nullopt); }

// No unit, no number, units of something else, units in the wrong case, rubbish around it, and what from_chars alone
// would take: nan, inf and hexadecimal.
INSTANTIATE_TEST_SUITE_P(Texts, NotABandwidth,
                         ::testing::Values("", " ", "400", "Gb/s", "400 Gb", "400 Gbps", "400 gb/s", "400 GB/S",
                                           "400 GB/s ", " 400 GB/s", "400 GB/s per direction", "4,000 GB/s",
                                           "400GB / s", "nan GB/s", "inf GB/s", "-inf GB/s", "0x10 GB/s", "1e400 GB/s",
                                           "1e308 TB/s", "+4 GB/s", "400\tGB/s", "400 us", "400 GB"));

// Three significant digits in the largest unit that leaves at least one before the point.
TEST(ToText, IsShortAndHuman) {
  EXPECT_EQ(to_text(Bytes(16'777'216)), "16.8 MB");
  EXPECT_EQ(to_text(Bytes(999)), "999 B");
  EXPECT_EQ(to_text(Bytes(0)), "0 B");
  EXPECT_EQ(to_text(Bytes(1'070'000'000)), "1.07 GB");
  EXPECT_EQ(to_text(BytesPerSecond(49e9)), "49.0 GB/s");
  EXPECT_EQ(to_text(BytesPerSecond(3.35e12)), "3.35 TB/s");
  EXPECT_EQ(to_text(Seconds(8.31e-3)), "8.31 ms");
  EXPECT_EQ(to_text(Seconds(2.5e-6)), "2.50 us");
  EXPECT_EQ(to_text(Seconds(120)), "120 s");
}

// 999.6 us would round to "1000 us": the unit changes where the rounding does.
TEST(ToText, ChangesUnitWhereRoundingDoes) {
  EXPECT_EQ(to_text(Seconds(999.6e-6)), "1.00 ms");
  EXPECT_EQ(to_text(Seconds(999.4e-6)), "999 us");
  EXPECT_EQ(to_text(Seconds(99.96e-6)), "100 us");
  EXPECT_EQ(to_text(Seconds(9.996e-6)), "10.0 us");
}

TEST(QuantityText, Percentages) {
  EXPECT_DOUBLE_EQ(*parse_percentage("10 %"), 0.1);
  EXPECT_DOUBLE_EQ(*parse_percentage("2.5%"), 0.025);
  for (const char* wrong : {"", "10", "%", "10 percent", "nan %", "10 %%"})
    EXPECT_FALSE(parse_percentage(wrong)) << wrong;
}

}  // namespace
}  // namespace foretoken
