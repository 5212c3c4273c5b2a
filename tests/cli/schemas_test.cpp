#include "tools/cli/schemas.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "foretoken_places.hpp"

namespace foretoken::cli {
namespace {

TEST(SchemaText, IsTheFileByteForByte) {
  const std::map<std::string, std::string> files{{"scenario", "scenarios/scenario.schema.json"},
                                                 {"model", "scenarios/model.schema.json"},
                                                 {"model-size", "tools/cli/model-size.schema.json"},
                                                 {"topology", "topologies/topology.schema.json"},
                                                 {"device", "topologies/devices/device.schema.json"},
                                                 {"calibration", "topologies/calibrations/calibration.schema.json"},
                                                 {"result", "tools/cli/result.schema.json"},
                                                 {"comparison", "tools/cli/comparison.schema.json"},
                                                 {"explanation", "tools/cli/explanation.schema.json"},
                                                 {"collective", "tools/cli/collective.schema.json"},
                                                 {"op", "tools/cli/op.schema.json"},
                                                 {"score", "tools/cli/score.schema.json"},
                                                 {"diagnosis", "tools/cli/diagnosis.schema.json"}};
  for (const auto& [name, path] : files) {
    std::ostringstream text;
    text << std::ifstream(std::string(FORETOKEN_SOURCE_DIR) + "/" + path, std::ios::binary).rdbuf();
    ASSERT_TRUE(schema_text(name).has_value()) << name;
    EXPECT_EQ(*schema_text(name), text.str()) << name;
  }
}

TEST(SchemaText, EveryNameHasOne) {
  EXPECT_THAT(schema_names(), testing::IsSupersetOf({"scenario", "topology", "device", "calibration", "result",
                                                     "comparison", "collective", "op", "score"}));
  for (const auto name : schema_names()) EXPECT_TRUE(nlohmann::json::accept(schema_text(name).value_or(""))) << name;
}

TEST(SchemaText, OtherNamesHaveNone) {
  EXPECT_EQ(schema_text(""), std::nullopt);
  EXPECT_EQ(schema_text("scenari"), std::nullopt);
}

}  // namespace
}  // namespace foretoken::cli
