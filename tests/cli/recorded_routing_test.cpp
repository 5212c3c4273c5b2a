// A run whose own router decides writes down what it decided, and every other command replays it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "plan/routing/routing.hpp"
#include "plan/routing/routing_record.hpp"
#include "tests/plan/json_schema.hpp"
#include "tests/scratch_folder.hpp"
#include "tools/cli/cli.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

std::filesystem::path scratch(const std::string& name) { return test::scratch_folder() / name; }

std::string foretoken(const std::vector<std::string>& arguments, int code = 0) {
  std::ostringstream out;
  std::ostringstream err;
  EXPECT_EQ(run(arguments, out, err), code) << err.str();
  return code == 0 ? out.str() : err.str();
}

const std::vector<std::string> kSmall{"scenarios/laptop/large-ep-r4.json",
                                      "--set",
                                      "model.hidden=32",
                                      "--set",
                                      "model.head_dim=8",
                                      "--set",
                                      "model.expert_hidden=24",
                                      "--set",
                                      "workload.sequences=11",
                                      "--set",
                                      "workload.context=5",
                                      "--set",
                                      R"(measure={"warmup_steps":1,"steps":4})",
                                      "--set",
                                      "deployment.experts.dispatch_mode=exact"};

std::vector<std::string> command(const std::string& verb, const std::vector<std::string>& more) {
  std::vector<std::string> all{verb};
  all.insert(all.end(), kSmall.begin(), kSmall.end());
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string recorded(const std::filesystem::path& file) {
  return fmt::format(R"(routing={{"kind":"recorded","file":"{}"}})", file.string());
}

const std::string kModel = R"(routing={"kind":"model","seed":7,"routed_steps":2})";

TEST(RecordedRouting, OfALiveRunIsReplayed) {
  const auto record = scratch("routing.json");
  const Json live =
      Json::parse(foretoken(command("run", {"--set", kModel, "--routing-out", record.string(), "--json"})));
  const Json planned = Json::parse(foretoken(command("plan", {"--set", recorded(record), "--json"})));
  EXPECT_EQ(planned.at("plan_hash"), live.at("plan_hash"));
  EXPECT_EQ(planned.at("routing_hash"), live.at("routing_hash"));
  EXPECT_EQ(planned.at("seed"), 7);
  EXPECT_GT(planned.at("exchange_bytes_per_step").at("useful"), 0);

  // The same experts give the same activations, to the bit.
  const Json again = Json::parse(foretoken(command("run", {"--set", recorded(record), "--json"})));
  EXPECT_EQ(again.at("live").at("activations_hash"), live.at("live").at("activations_hash"));
}

// ---- the schema of the record --------------------------------------------------------------------------------------

plan::test::JsonSchema routing_schema() {
  return plan::test::JsonSchema(Json::parse(foretoken({"schema", "routing"})));
}

Json tiny_record() { return Json::parse(std::ifstream("tests/data/routing/tiny.json")); }

TEST(RoutingSchema, FitsWhatIsShippedAndWhatARunWrites) {
  EXPECT_THAT(routing_schema().check(tiny_record()), testing::IsEmpty());
  const auto record = scratch("routing.json");
  foretoken(command("run", {"--set", kModel, "--routing-out", record.string()}));
  EXPECT_THAT(routing_schema().check(Json::parse(std::ifstream(record))), testing::IsEmpty());
}

// What each member may not be, the reader and the schema say alike.
TEST(RoutingSchema, RefusesWhatTheReaderRefuses) {
  const auto file = scratch("routing.json");
  const auto refused = [&](const Json& record) {
    std::ofstream(file) << record;
    try {
      static_cast<void>(plan::read_routing_record(file));
      return false;
    } catch (const Error&) {
      return true;
    }
  };
  EXPECT_FALSE(refused(tiny_record()));
  const Json tiny = tiny_record();
  for (const auto& member : tiny.items()) {
    Json without = tiny;
    without.erase(member.key());
    EXPECT_TRUE(refused(without)) << member.key();
    EXPECT_FALSE(routing_schema().check(without).empty()) << member.key();
  }
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"kind", "scenario"},
                                                                            {"schema_version", 2},
                                                                            {"seed", -1},
                                                                            {"routed_steps", 0},
                                                                            {"layers", 1025},
                                                                            {"dense_layers", -1},
                                                                            {"tokens", (1 << 24) + 1},
                                                                            {"experts", 4097},
                                                                            {"top_k", 0},
                                                                            {"choices", Json::array()},
                                                                            {"other", 1}}) {
    Json wrong = tiny;
    wrong[key] = value;
    EXPECT_TRUE(refused(wrong)) << key;
    EXPECT_FALSE(routing_schema().check(wrong).empty()) << key;
  }
}

// A record of what would be drawn gives what drawing gives.
TEST(RecordedRouting, IsSimulatedAsADrawIs) {
  const plan::RoutingSpec drawn{plan::RoutingKind::uniform, 0, 1, 4};
  const plan::Routing routing(drawn, 4, 16, 2);
  plan::RoutingRecord record;
  record.routed_steps = 4;
  record.layers = 4;
  record.tokens = 1024;
  record.experts = 16;
  record.top_k = 2;
  record.choices.resize(record.place(4, 0, 0));
  for (std::int64_t step = 0; step < 4; ++step)
    for (std::int64_t layer = 0; layer < 4; ++layer)
      for (std::int64_t token = 0; token < 1024; ++token)
        routing.experts_of(step, layer, token, std::span(record.choices).subspan(record.place(step, layer, token), 2));
  record.seal();
  const auto file = scratch("routing.json");
  std::ofstream(file) << plan::text_of(record);
  EXPECT_EQ(plan::read_routing_record(file).hash, record.hash);

  const std::string scenario = "scenarios/paper/large-ep64.json";
  const Json by_draw = Json::parse(foretoken({"simulate", scenario, "--json"}));
  const Json by_record = Json::parse(foretoken({"simulate", scenario, "--set", recorded(file), "--json"}));
  EXPECT_EQ(by_record.at("tpot_ms"), by_draw.at("tpot_ms"));
  EXPECT_EQ(by_record.at("program_hash"), by_draw.at("program_hash"));
  EXPECT_NE(by_record.at("plan_hash"), by_draw.at("plan_hash"));
}

// What the simulator moves is what the mode makes of the rows: capacity takes longer than exact sizes, and exchanging
// counts first longer than knowing them.
TEST(DispatchModes, CostWhatTheyMove) {
  const auto tpot = [](const std::string& mode) {
    const Json json = Json::parse(foretoken({"simulate", "scenarios/paper/large-ep64.json", "--json", "--set",
                                             "deployment.experts.dispatch_mode=" + mode}));
    return json.at("tpot_ms").at("mean").get<double>();
  };
  EXPECT_LT(tpot("planned"), tpot("exact"));
  EXPECT_LT(tpot("planned"), tpot("capacity"));
}

// By hand: 64 ranks have 16 tokens each, top 2 of 16 experts, one on a rank, so 16 of them hold one of a layer's. A
// message has 16 slots and a header of one row there, 16 slots back, from 64 x 16 - 16 pairs in each of 4 layers.
TEST(DispatchModes, TellUsefulAndWireBytes) {
  const auto bytes = [](const std::string& mode) {
    return Json::parse(foretoken({"plan", "scenarios/paper/large-ep64.json", "--json", "--set",
                                  "deployment.experts.dispatch_mode=" + mode}))
        .at("exchange_bytes_per_step");
  };
  const Json planned = bytes("planned");
  EXPECT_EQ(planned.at("wire"), planned.at("useful"));
  EXPECT_EQ(planned.at("counts"), 0);
  const double useful = planned.at("useful");
  // 1024 tokens x 2 rows x 16 KB there and back in 4 layers, less what stays on its rank: 1 in 64 at random.
  EXPECT_NEAR(useful, 1024.0 * 2 * 16384 * 2 * 4 * 63 / 64, 0.01 * useful);
  const Json capacity = bytes("capacity");
  EXPECT_EQ(capacity.at("useful"), planned.at("useful"));
  EXPECT_EQ(capacity.at("wire"), (64 * 16 - 16) * (16 + 1 + 16) * 16384.0 * 4);
  const Json exact = bytes("exact");
  EXPECT_EQ(exact.at("wire"), planned.at("wire"));
  EXPECT_EQ(exact.at("counts"), (64 * 16 - 16) * 4.0 * 4);
}

// Two experts of a token on one node come by one row, and go back by one: fewer bytes between nodes than rows for each
// expert would be, for all that the row has its weights behind it.
TEST(DispatchModes, OncePerNodeSendsLessBetweenNodes) {
  const Json bytes = Json::parse(foretoken({"plan", "scenarios/paper/large-ep64.json", "--json", "--set",
                                            "deployment.collectives={\"exchange\":\"hierarchical\"}"}))
                         .at("exchange_bytes_per_step");
  EXPECT_LT(bytes.at("wire_across_nodes"), bytes.at("useful_across_nodes"));
  EXPECT_LT(bytes.at("wire_across_nodes"), bytes.at("wire"));
}

TEST(RecordedRouting, SaysWhatDoesNotFit) {
  EXPECT_THAT(
      foretoken(command("simulate", {"--set", kModel, "--topology", "topologies/hgx-h100-2nodes-ndr400.json"}), 2),
      HasSubstr("--routing-out"));
  EXPECT_THAT(foretoken(command("run", {"--routing-out", scratch("x").string()}), 2),
              HasSubstr("the plan knows the routing beforehand"));
  EXPECT_THAT(foretoken({"plan", "scenarios/paper/large-ep64.json", "--set", kModel}, 2),
              HasSubstr("deployment.experts.dispatch_mode \"exact\""));
  EXPECT_THAT(foretoken(command("plan", {"--set", recorded("/nowhere.json")}), 2), HasSubstr("there is no file"));
  const auto file = scratch("routing.json");
  std::ofstream(file) << R"({"kind":"routing","schema_version":1,"seed":1,"routed_steps":1,"layers":1,"dense_layers":0,
                             "tokens":2,"experts":4,"top_k":2,"choices":[[[0,1,2,2]]]})";
  EXPECT_THAT(foretoken(command("plan", {"--set", recorded(file)}), 2), HasSubstr("token 1 visits an expert twice"));
  std::ofstream(file) << R"({"kind":"routing","schema_version":1,"seed":1,"routed_steps":1,"layers":1,"dense_layers":0,
                             "tokens":2,"experts":4,"top_k":2,"choices":[[[0,1,2,3]]]})";
  EXPECT_THAT(foretoken(command("plan", {"--set", recorded(file)}), 2), HasSubstr("the record has 1 layers"));
}

}  // namespace
}  // namespace foretoken::cli
