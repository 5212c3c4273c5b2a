#include "tools/explain/gate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.hpp"

namespace foretoken::explain {
namespace {

using testing::HasSubstr;

TEST(Gate, IsReadWithAndWithoutSpaces) {
  for (const char* text : {"tpot>10%", " tpot > 10 % ", "tpot>10.0%", "tpot>1e1%"}) {
    const Gate gate = parse_gate(text);
    EXPECT_EQ(gate.figure, "tpot_mean_ms") << text;
    EXPECT_DOUBLE_EQ(gate.threshold, 0.1) << text;
    EXPECT_EQ(gate.condition, text);
  }
  EXPECT_EQ(parse_gate("tps>0%").figure, "tps");
  EXPECT_EQ(parse_gate("step>5%").figure, "step_mean_ms");
  EXPECT_EQ(parse_gate("cpu>5%").figure, "cpu_step_ms");
}

TEST(Gate, WhatIsMalformedIsRefusedWithAHint) {
  for (const char* text : {"",          ">",           "tpot",      "tpot>",     "tpot>%",
                           "tpot>10",   "tpot<10%",    "tpot>=10%", "tpot>-1%",  "tpot>nan%",
                           "tpot>inf%", "tpot>1e400%", "tpot>ten%", "tpot>10%%", "tpot>10% or",
                           "TPOT>10%",  "latency>10%", ">10%",      "tpot>>10%", "tpot>1 0%"}) {
    try {
      static_cast<void>(parse_gate(text));
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input) << text;
      EXPECT_THAT(error.what(), HasSubstr("--fail-if 'tpot>10%'")) << text;
      EXPECT_THAT(error.what(), HasSubstr("--fail-if '" + std::string(text) + "'")) << text;
    }
  }
}

// TPOT 12.5 against 10: +25 %. TPS 75 against 100: -25 %. Either way counts, and only more than the threshold.
TEST(Gate, FailsOnTheAbsoluteErrorAboveTheThreshold) {
  const std::vector<Figure> figures{{"tpot_mean_ms", 12.5, 10}, {"tps", 75, 100}};
  const auto failed = [&](const char* text) { return check_gates({parse_gate(text)}, figures).front().failed; };
  EXPECT_TRUE(failed("tpot>24%"));
  EXPECT_FALSE(failed("tpot>25%"));  // exactly 0.25
  EXPECT_TRUE(failed("tps>24%"));
  EXPECT_FALSE(failed("tps>25%"));
  EXPECT_TRUE(failed("tps>0%"));
}

TEST(Gate, OnAFigureThatIsNotThereIsRefused) {
  try {
    static_cast<void>(check_gates({parse_gate("cpu>10%")}, {{"tps", 1, 1}}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr("cpu_step_ms"));
  }
}

}  // namespace
}  // namespace foretoken::explain
