// The published schema of calibrations and what is written of a computer's CPUs say the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/calibration.hpp"
#include "tests/plan/json_schema.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using Json = nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

Json written() {
  Calibration calibration;
  calibration.name = "host";
  calibration.device.name = "a CPU";
  calibration.sources.push_back({"here", "this computer", "own measurement", 10, ""});
  HostCalibration host;
  host.source = "here";
  for (auto& curve : host.cache) curve = {{Bytes(1024), Seconds(1e-10)}};
  host.communication.push_back({"threads", "here", {}, {true, true}, Seconds(0), {}});
  calibration.host = host;
  return Json::parse(calibration_text(calibration));
}

JsonSchema schema() { return JsonSchema(Json::parse(text_of_file("topologies/calibrations/calibration.schema.json"))); }

TEST(HostCalibrationSchema, FitsWhatIsWritten) { EXPECT_THAT(schema().check(written()), IsEmpty()); }

// Whatever member is taken away, at any depth of `host`, the schema misses it; and it allows no other.
void damage(const Json& whole, const Json::json_pointer& place) {
  const Json& value = whole.at(place);
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) damage(whole, place / i);
    return;
  }
  if (!value.is_object()) return;
  Json more = whole;
  more.at(place)["stranger"] = "1 ns";
  EXPECT_FALSE(schema().check(more).empty()) << place.to_string();
  for (const auto& member : value.items()) {
    Json less = whole;
    less.at(place).erase(member.key());
    EXPECT_FALSE(schema().check(less).empty()) << (place / member.key()).to_string();
    damage(whole, place / member.key());
  }
}

TEST(HostCalibrationSchema, KnowsEveryMember) { damage(written(), Json::json_pointer("/host")); }

TEST(HostCalibrationSchema, IsOfAComputerOrOfAGpu) {
  Json both = written();
  both["compute"] = Json::object();
  EXPECT_THAT(schema().check(both), Contains(HasSubstr("/compute")));
  both = written();
  both["device"]["peak_bf16"] = "1 TFLOP/s";
  EXPECT_THAT(schema().check(both), Contains(HasSubstr("peak_bf16")));
  Json neither = written();
  neither.erase("host");
  EXPECT_THAT(schema().check(neither), Contains(HasSubstr("compute")));
}

}  // namespace
}  // namespace foretoken::plan::test
