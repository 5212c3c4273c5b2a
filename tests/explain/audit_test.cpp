// An audit of invented figures, and the command on two small sweeps of the paper's deployments.
#include "tools/planning/audit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "core/error.hpp"
#include "tests/cli/command_line.hpp"
#include "tests/plan/json_schema.hpp"
#include "tools/cli/cli.hpp"
#include "tools/planning/consistent.hpp"

namespace foretoken::planning {
namespace {

using explain::ModelErrors;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;
namespace fs = std::filesystem;
using test::Answer;
using test::foretoken_cli;

/// One row for all ops, 10 %.
ModelErrors ten_percent() {
  return ModelErrors::read(JsonDocument::from_text(
      R"({"kind": "model_errors", "schema_version": 1, "errors": [{"ops": ["*"], "p90": "10 %", "source": "invented"}]})",
      "errors.json"));
}

plan::OpenChoice choice(const std::string& name, const std::vector<std::string>& labels) {
  plan::OpenChoice open{name, "invented", {}};
  for (const std::string& label : labels) open.options.push_back({label, {name + "=" + label}});
  return open;
}

/// 100 sequences, so that TPS = 100 / TPOT.
Outcome outcome(double tpot_ms, std::int64_t ranks) {
  Outcome made;
  const Seconds tpot(tpot_ms / 1e3);
  made.sample.metrics.tpot = {tpot, tpot, tpot, tpot};
  made.sample.metrics.tps = 100 / tpot.value();
  made.sample.ranks = ranks;
  made.sample.exposed = Seconds(3e-3);
  made.sample.hidden = Seconds(1e-3);
  made.sample.path_shares = {1.0};
  return made;
}

plan::PublishedFigures published(double tpot_ms) { return {"invented", 100 / (tpot_ms / 1e3), Seconds(tpot_ms / 1e3)}; }

/// Baseline on 4 GPUs published at 8 ms, method on 16 at 2 ms. One shared choice (model small or large) and one of the
/// baseline (batches 1 or 4), TPOT in ms:
///
///            batches 1   batches 4   method
///   small        4           8.1        2.05      agrees with batches 4 alone: 8 is within 10 % of 8.1, not of 4
///   large        8          16          4         the method does not agree: 2 is not within 10 % of 4
struct Invented {
  std::vector<plan::OpenChoice> of_baseline{choice("model", {"small", "large"}), choice("batches", {"1", "4"})};
  std::vector<plan::OpenChoice> of_method{choice("model", {"small", "large"})};
  Matching matching{{of_baseline, of_method}};
  Swept baseline{"baseline",
                 published(8),
                 {of_baseline[1]},
                 all_combinations({of_baseline[1]}, 100),
                 {outcome(4, 4), outcome(8.1, 4), outcome(8, 4), outcome(16, 4)}};
  Swept method{"method", published(2), {}, all_combinations({}, 100), {outcome(2.05, 16), outcome(4, 16)}};
  AuditSpec spec;

  [[nodiscard]] AuditResult run() const {
    return audit(spec, matching, baseline, method, ten_percent(),
                 [](std::size_t member, const std::vector<Combination>& choices) {
                   return std::vector<Outcome>(choices.size(), outcome(member == 0 ? 4 : 2, member == 0 ? 4 : 16));
                 });
  }
};

TEST(Audit, FindsWhatAgreesAndTheBestRuns) {
  const AuditResult result = Invented().run();
  EXPECT_EQ(result.combinations, 4);
  EXPECT_EQ(result.impossible, 0);
  ASSERT_EQ(result.agreeing.size(), 1u);
  EXPECT_EQ(result.agreeing[0].settlement, 0u);
  EXPECT_EQ(result.agreeing[0].baseline, 1u);
  ASSERT_EQ(result.by_settlement.size(), 2u);
  EXPECT_EQ(result.by_settlement[0].baseline_best, 0u);
  EXPECT_NEAR(result.by_settlement[0].agreeing_most, 8.1 / 2.05, 1e-12);
  EXPECT_NEAR(result.by_settlement[0].best_run->value, 4 / 2.05, 1e-12);
  EXPECT_EQ(result.by_settlement[1].agreeing, 0);
  // By choice: model small, model large, batches 1, batches 4.
  ASSERT_EQ(result.by_option.size(), 4u);
  EXPECT_EQ(result.by_option[0].agreeing, 1);
  EXPECT_EQ(result.by_option[2].agreeing, 0);
  EXPECT_NEAR(result.by_option[3].most, 4, 1e-12);
}

// 2.05 ms off by 10 % begins at 1.864; 1.8 ms with two digits may be 1.85, with one 1.5 to 2.5 and so within.
TEST(Audit, PublishedFiguresMayBeRounded) {
  plan::PublishedFigures figures = published(1.8);
  const Sample sample = outcome(2.05, 16).sample;
  const auto agrees_with = [&](std::int64_t digits) {
    figures.digits = digits;
    return agrees(sample, figures, ten_percent());
  };
  EXPECT_FALSE(agrees_with(0));
  EXPECT_FALSE(agrees_with(2));
  EXPECT_TRUE(agrees_with(1));
  EXPECT_NEAR(figures.rounding(2.2e-3), 0.5e-3, 1e-15);
  figures.digits = 2;
  EXPECT_NEAR(figures.rounding(2.2e-3), 0.05e-3, 1e-15);
  EXPECT_NEAR(figures.rounding(450'000), 5'000, 1e-9);
  EXPECT_NEAR(figures.rounding(1e-3), 0.05e-3, 1e-15);
}

// Both rest on the same row of errors alike, so that it cancels in ratios.
TEST(Audit, VerdictsSayWhatAStatementRestsOn) {
  Invented invented;
  invented.spec.series = {"first.json", "last.json"};
  invented.spec.statements = {{StatementKind::tps_ratio, "3.9x", 3.9, ""},  // 3.95 as run, 1.95 against the best run
                              {StatementKind::tps_ratio, "1.9x", 1.9, ""},  // both
                              {StatementKind::tps_ratio, "4x", 4, ""},      // 8 / 2 by the rows, 3.95 by the model
                              {StatementKind::per_gpu, "superlinear", 1.01, ""},  // 4x on 4x the GPUs
                              {StatementKind::scaling, "linear", 0.8, ""},        // 2x on 4x the GPUs
                              {StatementKind::hidden, "hidden", 0.8, ""}};        // 1 of 4
  const AuditResult result = invented.run();
  std::vector<Verdict> verdicts;
  for (const StatementResult& row : result.statements) verdicts.push_back(row.verdict);
  EXPECT_THAT(verdicts, testing::ElementsAre(Verdict::as_run, Verdict::holds, Verdict::fails, Verdict::contradicted,
                                             Verdict::fails, Verdict::fails));
  EXPECT_NEAR(result.statements[0].best_run.median, 4 / 2.05, 1e-12);
  EXPECT_NEAR(*result.statements[3].published, 1, 1e-12);
  EXPECT_NEAR(result.statements[4].agreeing.median, 0.5, 1e-12);
  EXPECT_NEAR(result.statements[5].all.median, 0.25, 1e-12);
}

TEST(Audit, WhatDoesNotRunIsCountedAndPassedOver) {
  Invented invented;
  invented.baseline.outcomes[1] = {{}, "does not fit"};
  invented.spec.statements = {{StatementKind::tps_ratio, "3.9x", 3.9, ""}};
  const AuditResult result = invented.run();
  EXPECT_EQ(result.impossible, 1);
  EXPECT_THAT(result.agreeing, IsEmpty());
  EXPECT_EQ(result.statements[0].verdict, Verdict::open);
}

TEST(Matching, TheSameNameAndLabelsAreSettledTogether) {
  const plan::OpenChoice shared = choice("model", {"a", "b"});
  plan::OpenChoice other = choice("model", {"a", "b"});
  other.options[1].assignments = {"model=c"};  // what a label assigns may differ
  const Matching matching({{choice("x", {"1", "2"}), shared}, {other, choice("x", {"1", "3"})}});
  ASSERT_EQ(matching.shared().size(), 1u);
  EXPECT_EQ(matching.own(0).front().options.back().label, "2");
  const Combination joined = matching.join(1, Combination{{1}}, Combination{{0}});
  EXPECT_THAT(joined.option, testing::ElementsAre(1u, 0u));
}

/// What is said against the choices; nothing if they are accepted.
template <class Check>
std::string refusal(const Check& check) {
  try {
    check();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input);
    return error.what();
  }
  return "";
}

TEST(OpenChoices, MustNotContradictEachOther) {
  const auto refused = [](const std::vector<plan::OpenChoice>& choices) {
    return refusal([&] { require_independent("s.json", choices); });
  };
  EXPECT_EQ(refused({choice("model.top_k", {"1", "2"}), choice("model.top_k_of_others", {"1", "2"})}), "");
  EXPECT_THAT(refused({choice("x", {"1", "2"}), choice("x", {"3"})}),
              HasSubstr("\"x\" assigns x, and \"x\" assigns x"));
  EXPECT_THAT(refused({choice("deployment.attention", {"{}"}), choice("deployment.attention.tp", {"8"})}),
              HasSubstr("assigns deployment.attention, and"));
  EXPECT_THAT(refused({choice("x", {"1", "1"})}), HasSubstr("options \"1\" and \"1\" of \"x\" are the same"));
  plan::OpenChoice twice = choice("x", {"1", "2"});
  twice.options[1].assignments = twice.options[0].assignments;
  EXPECT_THAT(refused({twice}), HasSubstr("are the same"));
}

// The one with and the other without it would serve different models. Sequences belong to a deployment.
TEST(OpenChoices, OfModelAndWorkloadAreForBoth) {
  const auto refused = [](const std::string& field) {
    return refusal([&] { require_one_workload("s.json", {choice(field, {"1", "2"})}); });
  };
  EXPECT_THAT(refused("workload.context"), HasSubstr("s.json#/open_choices: \"workload.context\" assigns"));
  EXPECT_THAT(refused("model"), HasSubstr("one model and one workload"));
  EXPECT_THAT(refused("routing.exponent"), HasSubstr("one model and one workload"));
  EXPECT_EQ(refused("workload.sequences"), "");
  EXPECT_EQ(refused("deployment.micro_batches"), "");
}

// sqrt((0.5 x 10 %)^2 + (0.5 x 20 %)^2) = 11.18 %; of two alike nothing is left.
TEST(ModelErrorTable, CombinesRowsAndCancelsInRatios) {
  const ModelErrors errors = ModelErrors::read(JsonDocument::from_text(
      R"({"kind": "model_errors", "schema_version": 1, "errors": [
        {"ops": ["gemm"], "provenance": ["interpolated"], "p90": "10 %", "source": "a"},
        {"ops": ["*"], "p90": "20 %", "source": "b", "assumed": true}]})",
      "errors.json"));
  EXPECT_EQ(errors.row_of("gemm", Provenance::interpolated), 0u);
  EXPECT_EQ(errors.row_of("gemm", Provenance::extrapolated), 1u);
  EXPECT_NEAR(relative_error({0.5, 0.5}, errors), std::sqrt(0.0125), 1e-12);
  EXPECT_EQ(ratio_error({0.5, 0.5}, {0.5, 0.5}, errors), 0);
  EXPECT_NEAR(ratio_error({1, 0}, {0.5, 0.5}, errors), std::sqrt(0.0125), 1e-12);
}

TEST(ModelErrorTable, TheLastRowIsForEveryOp) {
  try {
    static_cast<void>(ModelErrors::read(JsonDocument::from_text(
        R"({"kind": "model_errors", "schema_version": 1, "errors": [{"ops": ["gemm"], "p90": "1 %", "source": "a"}]})",
        "errors.json")));
    FAIL() << "was accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("errors.json#/errors: the last row holds for some ops alone"));
  }
}

// ---- the command ---------------------------------------------------------------------------------------------------

Json paper(const std::string& name) { return Json::parse(std::ifstream("scenarios/paper/" + name)); }

/// Two settlements, two runs of the baseline, one of the method.
TEST(AuditCommand, OfASmallSweep) {
  const fs::path folder = fs::temp_directory_path() / ("foretoken_audit_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const auto write = [&](const std::string& name, Json json, const std::vector<std::string>& kept) {
    Json choices = Json::array();
    for (const Json& open : json["open_choices"])
      for (const std::string& name_of_choice : kept)
        if (open.value("field", open.value("name", "")) == name_of_choice) choices.push_back(open);
    json["open_choices"] = choices;
    json["cluster"]["topology"] =
        fs::absolute("scenarios/paper").string() + "/" + json["cluster"]["topology"].get<std::string>();
    std::ofstream(folder / name) << json.dump();
  };
  write("baseline.json", paper("baseline-tp8-pp2.json"), {"model.top_k", "deployment.pipeline.schedule"});
  for (const char* name : {"large-ep64.json", "scaling-ep16.json", "scaling-ep64.json"})
    write(name, paper(name), {"model.top_k"});
  Json audit = paper("audit/audit.json");
  audit["baseline"] = "baseline.json";
  audit["method"] = "large-ep64.json";
  audit["series"] = {"scaling-ep16.json", "scaling-ep64.json"};
  audit["errors"] = fs::absolute("topologies/calibrations/errors/h100-sxm.json").string();
  audit["set"]["measure.steps"] = 4;
  std::ofstream(folder / "audit.json") << audit.dump();

  const Answer text = foretoken_cli({"audit", folder.string()});
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("paper: 4 combinations of what is left open"));
  EXPECT_THAT(text.out, HasSubstr("contradicted by the published figures themselves"));
  // 2 x 2 of the baseline, 2 of the method; EP=64 of the series is the method.
  EXPECT_THAT(text.err, testing::ContainsRegex("paper: [678] simulations for 4 combinations"));

  const Answer json = foretoken_cli({"audit", (folder / "audit.json").string(), "--json"});
  ASSERT_EQ(json.code, 0) << json.err;
  const plan::test::JsonSchema schema(Json::parse(foretoken_cli({"schema", "audit-report"}).out));
  EXPECT_THAT(schema.check(Json::parse(json.out)), IsEmpty());
  EXPECT_EQ(foretoken_cli({"audit", folder.string(), "--json"}).out, json.out);

  // A mistake in one option is told, not only counted; in all of them nothing is left to be said.
  const auto with_contexts = [&](const Json& values) {
    for (const char* name : {"baseline.json", "large-ep64.json", "scaling-ep16.json", "scaling-ep64.json"}) {
      Json scenario = Json::parse(std::ifstream(folder / name));
      scenario["open_choices"] = {{{"field", "workload.context"}, {"values", values}, {"reason", "invented"}}};
      std::ofstream(folder / name) << scenario.dump();
    }
    return foretoken_cli({"audit", folder.string()});
  };
  const Answer half = with_contexts({128, -5});
  EXPECT_EQ(half.code, 0) << half.err;
  EXPECT_THAT(half.out, HasSubstr("2 combinations of what is left open, 1 of which do not run"));
  EXPECT_THAT(half.out, HasSubstr("1 times paper/baseline-tp8-pp2: "));
  EXPECT_THAT(half.out, HasSubstr("-5 is out of range"));
  const Answer all = with_contexts({-5, -6});
  EXPECT_EQ(all.code, 2);
  EXPECT_THAT(all.err, HasSubstr("it runs under none of its 2 combinations"));
  EXPECT_THAT(all.err, HasSubstr("-5 is out of range"));
  EXPECT_EQ(all.out, "");

  fs::remove(folder / "audit.json");
  const Answer none = foretoken_cli({"audit", folder.string()});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("folder without audit.json"));
  fs::remove_all(folder);
}

// The shipped figures are those of the tables that they name.
TEST(AuditCommand, ShippedErrorsAreThoseOfTheCalibrationsTables) {
  std::ostringstream readme;
  readme << std::ifstream("topologies/calibrations/README.md").rdbuf();
  const Json errors = Json::parse(std::ifstream("topologies/calibrations/errors/h100-sxm.json"));
  for (const Json& row : errors["errors"]) {
    if (row.value("assumed", false)) continue;
    EXPECT_THAT(readme.str(), HasSubstr("| " + row["p90"].get<std::string>() + " |")) << row["source"];
  }
}

}  // namespace
}  // namespace foretoken::planning
