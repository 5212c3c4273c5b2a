#include "core/calibration_network.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "tests/sim/cost/invented_network.hpp"

namespace foretoken {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

NetworkCalibration read(const json& value) {
  return read_network_calibration(JsonDocument::from_text(value.dump(), "network.json").root());
}

std::string message_of(const json& value) {
  try {
    (void)read(value);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "accepted";
}

TEST(NetworkCalibration, ComesBackFromItsJson) {
  const json written = to_json(test::invented_network());
  const NetworkCalibration back = read(written);
  EXPECT_EQ(to_json(back), written);
  EXPECT_DOUBLE_EQ(back.ring.network_step_latency.value(), 5e-6);
  EXPECT_DOUBLE_EQ(back.combine.latency_one_node.value(), 12e-6);
  EXPECT_DOUBLE_EQ(back.infiniband.nominal.value(), 50e9);
  EXPECT_EQ(back.pcie.provenance, Provenance::assumed);
  ASSERT_EQ(back.ring.fitted.size(), 3U);
  EXPECT_EQ(back.ring.fitted[2].range.ranks_min, 16);
  EXPECT_EQ(back.ring.fitted[2].range.bytes_max, Bytes(std::int64_t{1} << 30));
}

TEST(NetworkCalibration, OptionalSectionsComeBackOrStayAway) {
  NetworkCalibration network = test::invented_network();
  EXPECT_FALSE(read(to_json(network)).tree.has_value());
  network.tree = TreeCalibration{Seconds(2e-6), BytesPerSecond(4e9), {}, "invented"};
  network.nvls_tree = NvlsTreeCalibration{Seconds(3e-6), BytesPerSecond(3e9), Seconds(1e-6), {}, "invented"};
  HierarchicalCalibration exchange;
  exchange.rate_in_node_per_sm = exchange.rate_in_node = exchange.rate_across_nodes_per_sm = BytesPerSecond(1e9);
  exchange.sms_max = 24;
  exchange.source = "invented";
  network.hierarchical_dispatch = exchange;
  const json written = to_json(network);
  const NetworkCalibration back = read(written);
  EXPECT_EQ(to_json(back), written);
  ASSERT_TRUE(back.nvls_tree && back.hierarchical_dispatch);
  EXPECT_DOUBLE_EQ(back.nvls_tree->fill_latency.value(), 1e-6);
  EXPECT_EQ(back.hierarchical_dispatch->sms_max, 24);
  EXPECT_FALSE(back.hierarchical_combine.has_value());
  // What is there has to be whole.
  for (const char* section : {"tree", "nvls_tree", "hierarchical_dispatch"})
    for (const auto& entry : written[section].items()) {
      json poorer = written;
      poorer[section].erase(entry.key());
      EXPECT_THAT(message_of(poorer), HasSubstr(entry.key())) << section;
    }
}

TEST(NetworkCalibration, NamesThePlaceOfBadInput) {
  struct Case {
    std::string pointer;
    json value;
    std::string expected;
  };
  const std::vector<Case> cases = {
      {"/ring/base_latency", "10", "/ring/base_latency"},
      {"/ring/base_latency", "-1 us", "/ring/base_latency"},
      {"/ring/base_latency", "2 s", "/ring/base_latency"},
      {"/ring/ll_rate", "0 GB/s", "/ring/ll_rate"},
      {"/ring/ll_rate", nullptr, "/ring/ll_rate"},
      {"/ring/surprise", 1, "surprise"},
      {"/ring/fitted/0/op", "all_reduc", "all_reduce"},
      {"/ring/fitted/0/ranks", {8, 2}, "/ring/fitted/0/ranks"},
      {"/ring/fitted/0/ranks", {2}, "/ring/fitted/0/ranks"},
      {"/ring/fitted/0/bytes", {"2 KiB", "1 KiB"}, "/ring/fitted/0/bytes"},
      {"/dispatch/fitted/0/nodes", {0, 1}, "/dispatch/fitted/0/nodes"},
      {"/links/nvlink/payload_efficiency", 0.0, "/links/nvlink/payload_efficiency"},
      {"/links/nvlink/payload_efficiency", 1.5, "/links/nvlink/payload_efficiency"},
      {"/links/infiniband/provenance", "guessed", "/links/infiniband/provenance"},
      {"/message/in_node/rate", "100 us", "/message/in_node/rate"},
      {"/source", "x", "source"},
  };
  for (const Case& c : cases) {
    json value = to_json(test::invented_network());
    value[json::json_pointer(c.pointer)] = c.value;
    EXPECT_THAT(message_of(value), HasSubstr(c.expected)) << c.pointer << " = " << c.value;
  }
}

TEST(NetworkCalibration, MissesEveryMemberThatIsLeftOut) {
  const json whole = to_json(test::invented_network());
  for (const auto& [section, content] : whole.items()) {
    json without = whole;
    without.erase(section);
    EXPECT_THAT(message_of(without), HasSubstr(section));
    for (const auto& entry : content.items()) {
      json poorer = whole;
      poorer[section].erase(entry.key());
      EXPECT_THAT(message_of(poorer), HasSubstr(entry.key())) << section;
    }
  }
}

}  // namespace
}  // namespace foretoken
