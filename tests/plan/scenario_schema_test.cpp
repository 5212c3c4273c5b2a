// The published JSON Schemas and the readers say the same.
//
// The readers are asked through their own errors: an unknown key lists the keys that an object may have, a value out of
// range states the range, an unknown name lists the names. What they answer has to be what the schema has.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/calibration.hpp"
#include "core/device_spec.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "plan/scenario/names.hpp"
#include "plan/scenario/read_model.hpp"
#include "tests/plan/json_schema.hpp"
#include "tests/plan/plan_files.hpp"
#include "tests/scratch_folder.hpp"

namespace foretoken::plan::test {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

JsonSchema schema_of(const std::string& kind) {
  static const std::map<std::string, std::string> files{
      {"scenario", "scenarios/scenario.schema.json"},
      {"model", "scenarios/model.schema.json"},
      {"topology", "topologies/topology.schema.json"},
      {"device", "topologies/devices/device.schema.json"},
      {"calibration", "topologies/calibrations/calibration.schema.json"},
      {"audit", "scenarios/audit.schema.json"},
      {"model_errors", "topologies/calibrations/errors/model-errors.schema.json"},
      {"accepted_accuracy", "scenarios/published/accepted.schema.json"}};
  return JsonSchema(Json::parse(text_of_file(files.at(kind))));
}

// ---- every file that is shipped ------------------------------------------------------------------------------------

TEST(Schemas, FitEveryShippedFile) {
  std::map<std::string, int> seen;
  for (const char* folder : {"scenarios", "topologies", "tests/data/plan"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(repository_file(folder))) {
      const std::string path = entry.path().string();
      if (!path.ends_with(".json") || path.ends_with(".schema.json")) continue;
      const Json file = Json::parse(std::ifstream(path));
      if (!file.is_object()) continue;  // a table of a test
      const std::string kind = file.at("kind");
      ++seen[kind];
      EXPECT_THAT(schema_of(kind).check(file), IsEmpty()) << path;
      if (!file.contains("$schema")) continue;
      const auto named = entry.path().parent_path() / file.at("$schema").get<std::string>();
      EXPECT_TRUE(std::filesystem::is_regular_file(named)) << path << " names " << named;
    }
  EXPECT_GE(seen["scenario"], 5 + 2);
  EXPECT_GE(seen["model"], 10);
  EXPECT_GE(seen["topology"], 3 + 1);
  EXPECT_GE(seen["device"], 1 + 1);
  EXPECT_GE(seen["calibration"], 1);
}

// ---- schema and reader ---------------------------------------------------------------------------------------------

/// What the reader of a kind of file says to a text: "" if it accepts it.
std::string verdict(const std::string& kind, const Json& file) {
  try {
    if (kind == "scenario") {
      static_cast<void>(parse_scenario(JsonDocument::from_text(file.dump(), "case.json")));
    } else if (kind == "model") {
      static_cast<void>(read_model_file(JsonDocument::from_text(file.dump(), "case.json")));
    } else {
      const auto folder = foretoken::test::scratch_folder();
      std::filesystem::copy_file(repository_file("tests/data/plan/gpu.json"), folder / "gpu.json",
                                 std::filesystem::copy_options::overwrite_existing);
      const auto path = folder / "case.json";
      std::ofstream(path) << file.dump();
      if (kind == "topology") static_cast<void>(read_topology(path));
      else static_cast<void>(read_device_spec(path));
    }
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), 2) << error.what();
    return error.what();
  }
  return "";
}

/// A place of a file and the schema that it has to obey.
struct Place {
  Json::json_pointer pointer;
  const Json* schema;
};

// Objects and leaves that the schema has properties for, over the whole file.
void collect(const JsonSchema& schema, const Json& value, const Json& written, const Json::json_pointer& pointer,
             std::vector<Place>& places) {
  const Json& resolved = schema.resolved(written);
  places.push_back({pointer, &resolved});
  if (value.is_object() && resolved.contains("properties"))
    for (const auto& item : value.items()) {
      if (!resolved["properties"].contains(item.key())) continue;
      collect(schema, item.value(), resolved["properties"][item.key()], pointer / item.key(), places);
    }
  if (value.is_array() && resolved.contains("items"))
    for (std::size_t i = 0; i < value.size(); ++i) collect(schema, value[i], resolved["items"], pointer / i, places);
}

// With whatever does not exclude something else.
Json example_model() {
  return Json::parse(R"({"$schema": "model.schema.json", "kind": "model", "schema_version": 1, "name": "tiny",
      "about": "invented", "source": "invented", "layers": 8, "hidden": 64, "heads": 8,
      "latent": {"kv_rank": 16, "q_rank": 24, "nope_dim": 8, "rope_dim": 4, "value_dim": 8},
      "index": {"heads": 2, "head_dim": 8, "top_k": 4}, "window": {"tokens": 4, "chunked": true, "full_every": 2},
      "experts": 8, "top_k": 2, "expert_hidden": 16, "gated": true, "shared_experts": 1, "dense_layers": 1,
      "moe_every": 2, "dense_hidden": 32, "vocabulary": 100, "tied_embeddings": true,
      "dtype": {"weights": "fp8", "experts": "mxfp4", "activations": "bf16", "dispatch": "fp8", "kv_cache": "fp8"}})");
}

/// Valid files that together have every property of their schema.
std::vector<Json> examples_of(const std::string& kind) {
  if (kind == "scenario") {
    Json stages = base_scenario("stages");
    stages["faults"] = Json::parse(R"([{"nic": "node0.nic3", "from": "1 ms", "dead": true},
                                       {"link": ["node0.nic1", "fabric"], "bandwidth": "10 %"},
                                       {"switch": "fabric", "bandwidth": "50 %"},
                                       {"gpu": "node1.gpu0", "speed": "50 %"}])");
    Json recorded = base_scenario("dispatch");
    recorded["routing"] = {{"kind", "recorded"}, {"file", repository_file("tests/data/routing/tiny.json")}};
    recorded["deployment"]["experts"]["dispatch_mode"] = "exact";
    Json hot = base_scenario("dispatch");
    hot["routing"] = {{"kind", "hot_set"}, {"hot", 1},  {"share", 0.5},
                      {"drift", 0.5},      {"seed", 1}, {"routed_steps", 2}};
    Json counts = base_scenario("dispatch");
    counts["routing"] = {{"kind", "counts"}, {"file", repository_file("tests/data/routing/counts.json")}, {"seed", 1}};
    Json latent = base_scenario("stages");
    Json described = base_scenario("stages");
    Json published = base_scenario("stages");
    latent["model"] = example_model();
    for (const char* key : {"$schema", "kind", "schema_version", "about", "source"}) latent["model"].erase(key);
    described["model"] = {{"file", repository_file("scenarios/models/gpt-oss-120b.json")},
                          {"window", {{"tokens", 64}, {"full_layers", {0, 1}}}}};
    published["model"] = {{"hf", repository_file("tests/data/model/small/config.json")}, {"dtype", Json::object()}};
    return {stages, base_scenario("dispatch"), recorded, hot, counts, latent, described, published};
  }
  if (kind == "model") {
    Json grouped = Json::parse(text_of_file("scenarios/models/gpt-oss-120b.json"));
    grouped["window"] = {{"tokens", 64}, {"full_layers", {0, 1}}};
    return {example_model(), grouped};
  }
  if (kind == "device") return {Json::parse(text_of_file("tests/data/plan/gpu.json"))};
  Json host = Json::parse(text_of_file("topologies/host.json"));
  host["calibration"] = "measured.json";
  host["node"]["host"]["emulated"] = true;
  host["node"]["host"]["core_shares"] = {0.5};
  host["sources"]["node.host.core_shares"] = "invented";
  std::vector<Json> examples{Json::parse(text_of_file("tests/data/plan/machine.json")), host};
  const auto add_fabric = [&](const char* fabric, std::vector<std::string> sources) {
    Json topology = examples.front();
    topology["node"]["nics"] = 2;
    topology["node"]["pcie"]["switches"] = 2;
    topology["fabric"] = Json::parse(fabric);
    for (const std::string& source : sources) topology["sources"][source] = "invented";
    examples.push_back(topology);
  };
  add_fabric(R"({"kind": "leaf_spine", "nodes_per_leaf": 1, "spines": 2, "spread": "hash", "salt": 7,
                 "uplink": {"cables": 2, "bandwidth": "1 GB/s", "latency": "1 us"}})",
             {"fabric.uplink.bandwidth", "fabric.uplink.latency"});
  add_fabric(R"({"kind": "rail_optimised", "nodes_per_pod": 1, "spines": 2, "spread": "ideal", "pxn": false,
                 "uplink": {"oversubscription": 2, "latency": "1 us"}})",
             {"fabric.uplink.oversubscription", "fabric.uplink.latency"});
  add_fabric(R"({"kind": "explicit", "pxn": true, "switches": ["a", "b"],
                 "links": [{"between": ["a", "b"], "bandwidth": "1 GB/s", "latency": "1 us", "count": 2},
                           {"between": ["node0.nic0", "a"]}, {"between": ["node1.nic0", "b"]}]})",
             {"fabric.links"});
  return examples;
}

class SchemaAndReader : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    for (const Json& example : examples_of(kind)) {
      std::vector<Place> places;
      collect(schema, example, schema.root(), Json::json_pointer(), places);
      all.emplace_back(example, std::move(places));
    }
  }

  std::string kind = GetParam();
  JsonSchema schema = schema_of(kind);
  std::vector<std::pair<Json, std::vector<Place>>> all;
};

TEST_P(SchemaAndReader, AcceptTheExamples) {
  for (const auto& [example, places] : all) {
    EXPECT_EQ(verdict(kind, example), "");
    EXPECT_THAT(schema.check(example), IsEmpty());
  }
}

TEST_P(SchemaAndReader, KnowTheSameKeys) {
  // So far from every key that the reader lists them all instead of proposing one.
  const std::string stranger(40, 'q');
  std::set<const Json*> covered;
  std::map<const Json*, std::set<std::string>> present;
  for (const auto& [example, places] : all)
    for (const auto& [pointer, object] : places) {
      if (!object->contains("properties") || !object->contains("additionalProperties")) continue;
      Json changed = example;
      changed[pointer][stranger] = 1;
      EXPECT_THAT(schema.check(changed), testing::SizeIs(1)) << pointer;
      const std::string message = verdict(kind, changed);
      const auto at = message.find("known keys: ");
      ASSERT_NE(at, std::string::npos) << pointer << ": " << message;
      std::set<std::string> known;
      std::istringstream list(message.substr(at + 12));
      for (std::string key; std::getline(list, key, ',');) known.insert(key.substr(key.find_first_not_of(' ')));
      std::set<std::string> published;
      for (const auto& item : (*object)["properties"].items()) published.insert(item.key());
      for (const auto& item : example[pointer].items()) present[object].insert(item.key());
      // Either form of an open choice has keys that the other has not; so has a host or a cluster of GPUs.
      if (published.contains("field") || (kind == "topology" && pointer != Json::json_pointer("/node/host"))) {
        EXPECT_TRUE(std::includes(published.begin(), published.end(), known.begin(), known.end())) << message;
        covered.insert(object);
        continue;
      }
      EXPECT_EQ(known, published) << pointer;
      covered.insert(object);
    }
  // The examples have every property, so every one of them has been accepted by the reader.
  for (const auto& [object, keys] : present)
    for (const auto& item : (*object)["properties"].items())
      EXPECT_TRUE(keys.contains(item.key()) || item.key() == "$schema") << item.key() << " is in no example";
  EXPECT_GE(covered.size(), 3u);
}

TEST_P(SchemaAndReader, RequireTheSameKeys) {
  for (const auto& [example, places] : all)
    for (const auto& [pointer, object] : places) {
      if (!object->contains("required")) continue;
      for (const auto& key : (*object)["required"]) {
        Json changed = example;
        changed[pointer].erase(key.get<std::string>());
        EXPECT_THAT(schema.check(changed), testing::Not(IsEmpty())) << pointer << " without " << key;
        EXPECT_THAT(verdict(kind, changed), HasSubstr(key.dump())) << pointer;
      }
    }
}

TEST_P(SchemaAndReader, StateTheSameRanges) {
  int ranges = 0;
  for (const auto& [example, places] : all)
    for (const auto& [pointer, leaf] : places) {
      if (!leaf->contains("maximum") || pointer.back() == "schema_version") continue;
      ++ranges;
      Json changed = example;
      changed[pointer] = 1e30;
      EXPECT_THAT(schema.check(changed), testing::Not(IsEmpty())) << pointer;
      const std::string message = verdict(kind, changed);
      // The reader's bound is the file's own number of layers, or of cores, which the schema cannot say.
      const Json most = pointer.to_string().starts_with("/node/host/core_shares/") ? example["node"]["host"]["cores"]
                        : pointer.back() != "dense_layers"                         ? (*leaf)["maximum"]
                        : kind == "model"                                          ? example["layers"]
                                                                                   : example["model"]["layers"];
      EXPECT_THAT(message, HasSubstr(pointer.to_string() + ": 1e+30 is out of range"));
      const auto from = message.find(" from ");
      ASSERT_NE(from, std::string::npos) << message;
      std::istringstream bounds(message.substr(from + 6));
      double low = 0, high = 0;
      std::string to;
      bounds >> low >> to >> high;
      EXPECT_EQ(low, (*leaf)["minimum"].get<double>()) << pointer;
      EXPECT_EQ(high, most.get<double>()) << pointer;
    }
  EXPECT_GE(ranges, kind == "scenario" ? 30 : 1);
}

TEST_P(SchemaAndReader, HaveTheSameNames) {
  for (const auto& [example, places] : all)
    for (const auto& [pointer, leaf] : places) {
      if (!leaf->contains("enum")) continue;
      Json changed = example;
      changed[pointer] = std::string(40, 'q');
      EXPECT_THAT(schema.check(changed), testing::Not(IsEmpty())) << pointer;
      std::string names;
      for (const auto& name : (*leaf)["enum"]) names += (names.empty() ? "" : ", ") + name.dump();
      const std::string message = verdict(kind, changed);
      EXPECT_EQ(message.substr(message.find("write one of") + 13), names) << pointer;
    }
}

TEST_P(SchemaAndReader, AgreeAboutTypes) {
  for (const auto& [example, places] : all)
    for (const auto& place : places) {
      if (place.pointer.empty() || place.schema->empty()) continue;
      for (const Json& other :
           {Json(nullptr), Json(true), Json(-1.5), Json("qqqq"), Json::array({1}), Json{{"q", 1}}}) {
        Json changed = example;
        changed[place.pointer] = other;
        // A list of assignments may have any names and values; the reader looks at them when they are used.
        const bool free_form = place.schema->value("type", "") == "object" && !place.schema->contains("properties");
        if (free_form && other.is_object()) continue;
        // Beside the name of a model's file null takes a member away, which no member's own schema says.
        const bool beside_file = kind == "scenario" && place.pointer.parent_pointer() == Json::json_pointer("/model") &&
                                 (example["model"].contains("file") || example["model"].contains("hf"));
        if (beside_file && other.is_null()) continue;
        // What a text means is the reader's business: any text is a name, or a path that leads nowhere.
        if (other.is_string() && !place.schema->contains("pattern") && !place.schema->contains("enum")) continue;
        EXPECT_EQ(schema.check(changed).empty(), verdict(kind, changed).empty())
            << place.pointer << " = " << other << ": " << verdict(kind, changed);
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Kinds, SchemaAndReader, testing::Values("scenario", "model", "topology", "device"),
                         [](const auto& tested) { return std::string(tested.param); });

// ---- quantities ----------------------------------------------------------------------------------------------------

TEST(Schemas, PatternsOfQuantitiesAreThoseOfTheReader) {
  const std::vector<std::string> numbers{"1",  "1.", ".5", "1.5",  "1e3", "1E+3", "2.5e-1", "",
                                         "e3", ".",  "+1", "1..2", "0x1", "inf",  "nan",    "1 2"};
  const std::vector<std::string> units{"Gb/s",   "GB/s", "GiB/s", "  B/s", "gb/s", "Gbps", "GB", "",
                                       "\tGb/s", "s",    "ms",    " us",   "ns",   "ps",   "min"};
  const Json definitions = schema_of("scenario").root().at("definitions");
  for (const auto& [object, key] : {std::pair("cluster", "nic"), std::pair("published", "tpot")}) {
    const JsonSchema schema(definitions.at(object).at("properties").at(key));
    Json changed = base_scenario("stages");
    for (const std::string& number : numbers)
      for (const std::string& unit : units) {
        const std::string text = number + unit;
        changed[object][key] = text;
        const std::string message = verdict("scenario", changed);
        const bool read = message.empty() || message.find("is out of range") != std::string::npos;
        EXPECT_EQ(schema.check(text).empty(), read) << key << " \"" << text << "\": " << message;
      }
  }
}

// ---- enum lists against plan/scenario/names.hpp --------------------------------------------------------------------

template <class Names>
Json json_of(const Names& names) {
  Json list = Json::array();
  for (const auto& entry : names) list.push_back(std::string(entry.second));
  return list;
}

TEST(Schemas, ListTheNamesOfTheReader) {
  const Json definitions = schema_of("scenario").root().at("definitions");
  const auto names_at = [&](const char* pointer) { return definitions.at(Json::json_pointer(pointer)); };
  EXPECT_EQ(names_at("/float_type/enum"), json_of(kFloatTypeNames));
  EXPECT_EQ(names_at("/all_reduce/enum"), json_of(kCollectiveChoiceNames));
  EXPECT_EQ(names_at("/deployment/properties/collectives/properties/exchange/enum"), json_of(kExchangeAlgorithmNames));
  EXPECT_EQ(names_at("/collective/enum"), json_of(kGatherChoiceNames));
  EXPECT_EQ(names_at("/routing/properties/kind/enum"), json_of(kRoutingKindNames));
  const std::string deployment = "/deployment/properties/";
  EXPECT_EQ(names_at((deployment + "pipeline/properties/schedule/enum").c_str()), json_of(kPipelineScheduleNames));
  EXPECT_EQ(names_at((deployment + "pipeline/properties/transfer/enum").c_str()), json_of(kPipelineTransferNames));
  EXPECT_EQ(names_at((deployment + "experts/properties/placement/enum").c_str()), json_of(kExpertPlacementNames));
  EXPECT_EQ(names_at((deployment + "experts/properties/exchange/enum").c_str()), json_of(kExpertExchangeNames));
  EXPECT_EQ(names_at((deployment + "experts/properties/dispatch_mode/enum").c_str()), json_of(kDispatchModeNames));
  EXPECT_EQ(names_at((deployment + "overlap/enum").c_str()), json_of(kOverlapNames));
  Json dtypes = Json::array();
  for (const auto& entry : kDTypeNames) dtypes.push_back(std::string(entry.second));
  EXPECT_EQ(schema_of("calibration").root().at(Json::json_pointer("/definitions/dtype/enum")), dtypes);
  for (const auto& dtype : dtypes)
    EXPECT_TRUE(
        schema_of("device").root()["properties"]["peak_flops"]["properties"].contains(dtype.get<std::string>()));
}

// ---- the checker itself --------------------------------------------------------------------------------------------

TEST(JsonSchemaChecker, NoticesWhatEachKeywordForbids) {
  const auto finds = [](const char* schema, const char* value) {
    return !JsonSchema(Json::parse(schema)).check(Json::parse(value)).empty();
  };
  EXPECT_TRUE(finds(R"({"type": "integer"})", "1.5"));
  EXPECT_FALSE(finds(R"({"type": "integer"})", "2.0"));
  EXPECT_TRUE(finds(R"({"const": 1})", "2"));
  EXPECT_TRUE(finds(R"({"enum": [1, 2]})", "3"));
  EXPECT_TRUE(finds(R"({"minimum": 1})", "0"));
  EXPECT_TRUE(finds(R"({"maximum": 1})", "2"));
  EXPECT_TRUE(finds(R"({"minLength": 1})", "\"\""));
  EXPECT_TRUE(finds(R"({"maxLength": 1})", "\"ab\""));
  EXPECT_TRUE(finds(R"({"pattern": "^a$"})", "\"b\""));
  EXPECT_TRUE(finds(R"({"minItems": 1})", "[]"));
  EXPECT_TRUE(finds(R"({"maxItems": 1})", "[1, 2]"));
  EXPECT_TRUE(finds(R"({"items": {"type": "string"}})", "[\"a\", 1]"));
  EXPECT_TRUE(finds(R"({"required": ["a"]})", "{}"));
  EXPECT_TRUE(finds(R"({"additionalProperties": false})", R"({"a": 1})"));
  EXPECT_TRUE(finds(R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", "1"));
  EXPECT_TRUE(finds(R"({"if": {"type": "number"}, "then": {"minimum": 1}})", "0"));
  EXPECT_TRUE(finds(R"({"if": {"type": "string"}, "else": {"minimum": 1}})", "0"));
  EXPECT_TRUE(finds(R"({"properties": {"a": false}})", R"({"a": 1})"));
  EXPECT_TRUE(finds(R"({"$ref": "#/definitions/a", "definitions": {"a": {"const": 1}}})", "2"));
  EXPECT_THROW(finds(R"({"oneOf": []})", "1"), std::runtime_error);
  EXPECT_THROW(finds(R"({"$ref": "#/definitions/a", "minimum": 1, "definitions": {"a": {}}})", "2"),
               std::runtime_error);
}

}  // namespace
}  // namespace foretoken::plan::test
