// What 16 and 64 GPUs would hand to NCCL fits together, in every deployment; and mistakes that are planted are found.
#include "runtime/recording/recording.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/program/resolve.hpp"
#include "runtime/recording/check_recording.hpp"
#include "tests/runtime/deployment_matrix.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::check_recording;
using runtime::NcclCall;
using runtime::NcclFunction;
using runtime::RecordedOp;
using runtime::Recording;
using runtime::RecordingVerdict;
using testing::HasSubstr;
using testing::IsEmpty;

// ---- every deployment, dispatch mode and overlap -------------------------------------------------------------------

const char* const kRoundRobin = R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})";
const char* const kColocated = R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})";
const char* const kModel = R"(routing={"kind":"model","seed":5,"routed_steps":2})";

struct RecordedCase {
  std::string scenario;  // of scenarios/paper
  std::string name;
  std::vector<std::string> settings;
};

// What a failure says of it.
void PrintTo(const RecordedCase& one, std::ostream* out) {
  *out << fmt::format("{} {}", one.scenario, fmt::join(one.settings, " "));
}

std::string attention_setting(int tp, int dp) {
  return fmt::format(R"(deployment.attention={{"tp":{},"dp":{}}})", tp, dp);
}

// All combinations for 16 and for 64 GPUs.
std::vector<RecordedCase> recorded_cases() {
  std::vector<RecordedCase> list;
  for (const int ranks : {16, 64}) {
    const std::string on = fmt::format("scaling-ep{}", ranks);
    const std::string size = fmt::format("_{}", ranks);
    const std::string pipeline = R"(deployment.pipeline={"stages":2,"schedule":"flow"})";
    const std::vector<Factor> dispatching{
        {{"paper", {}},
         {"one_replica_per_gpu", {kColocated, attention_setting(1, ranks), fmt::format("model.experts={}", 2 * ranks)}},
         {"uneven", {kRoundRobin, attention_setting(4, ranks / 4), "workload.sequences=1003", "model.experts=48"}},
         {"fewer_tokens_than_gpus", {kRoundRobin, attention_setting(8, ranks / 8), "workload.sequences=13"}},
         {"groups",
          {R"(deployment.experts={"placement":"colocated","exchange":"dispatch","ep":8})",
           attention_setting(2, ranks / 2)}},
         {"pipeline", {kRoundRobin, attention_setting(2, ranks / 4), pipeline, "deployment.micro_batches=2"}},
         {"routed_by_the_model", {kModel, "measure.steps=2"}}},
        dispatch_modes(),
        overlaps(2)};
    const auto possible = [](const Combination& c) { return !(c[0] == 6 && (c[1] == 0 || c[1] == 3)); };
    for (const Combination& one : all_combinations(dispatching, possible))
      list.push_back({on, name_of(dispatching, one) + size, settings_of(dispatching, one)});

    Factor overlap = overlaps(1);
    overlap.pop_back();
    const std::string experts = R"(deployment.experts={"placement":"colocated","exchange":"all_reduce"})";
    const auto stages = [](int count, const char* schedule, const char* transfer) {
      return fmt::format(R"(deployment.pipeline={{"stages":{},"schedule":"{}","transfer":"{}"}})", count, schedule,
                         transfer);
    };
    const std::vector<Factor> replicating{
        {{"tp8_pp2",
          {experts, attention_setting(8, ranks / 16), stages(2, "flush", "scatter_gather"),
           "deployment.micro_batches=4"}},
         {"tp8_pp2_flow",
          {experts, attention_setting(8, ranks / 16), stages(2, "flow", "scatter_gather"), "deployment.micro_batches=4",
           "workload.sequences=1003"}},
         {"tp4_pp4",
          {experts, attention_setting(4, ranks / 16), stages(4, "flow", "replicated"), "deployment.micro_batches=6"}},
         {"tp8_sharded",
          {R"(deployment.experts={"placement":"sharded","exchange":"all_reduce"})", attention_setting(8, ranks / 8)}},
         {"tp16", {experts, attention_setting(16, ranks / 16)}}},
        overlap};
    for (const Combination& one : all_combinations(replicating, [](const Combination&) { return true; })) {
      std::vector<std::string> settings{"deployment.micro_batches=1", "deployment.collectives={}"};
      for (const std::string& setting : settings_of(replicating, one))
        if (!(one[1] == 1 && setting == "deployment.micro_batches=2" && one[0] < 3)) settings.push_back(setting);
      list.push_back({on, name_of(replicating, one) + size, settings});
    }
  }
  list.push_back({"baseline-tp8-pp2", "paper_baseline", {}});
  list.push_back({"large-ep64", "paper_large_ep", {}});
  return list;
}

class RecordedNccl : public testing::TestWithParam<RecordedCase> {};

TEST_P(RecordedNccl, MatchesAndCannotDeadlock) {
  const plan::Plan plan = paper_plan(GetParam().scenario, GetParam().settings);
  const Recording recording = runtime::record(plan);
  const RecordingVerdict verdict = check_recording(plan, recording);
  EXPECT_THAT(verdict.problems, IsEmpty());
  EXPECT_GT(verdict.collectives + verdict.messages, 0);

  // Every rank hands on every op of every step, communications with calls on a communicator.
  for (std::size_t r = 0; r < recording.ranks.size(); ++r) {
    EXPECT_EQ(recording.ranks[r].size(),
              plan.program.role_of(RankId(r)).ops.size() * static_cast<std::size_t>(recording.steps));
    for (const RecordedOp& entry : recording.ranks[r]) {
      const bool calls = std::any_of(entry.calls.begin(), entry.calls.end(),
                                     [](const NcclCall& call) { return call.function != NcclFunction::copy; });
      ASSERT_EQ(calls, entry.family >= 0 && !entry.calls.empty());
    }
  }
}

std::string shown(const testing::TestParamInfo<RecordedCase>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Paper, RecordedNccl, testing::ValuesIn(recorded_cases()), shown);

// The rows that are sent are those of the plan: what a step's dispatches carry over all ranks is its tokens' choices.
TEST(Recording, CarriesTheRowsOfThePlan) {
  const plan::Plan plan = paper_plan("scaling-ep16", {});
  const Recording recording = runtime::record(plan);
  const plan::ModelSpec& model = plan.scenario.model;
  std::int64_t sent = 0;
  for (std::size_t r = 0; r < recording.ranks.size(); ++r)
    for (const RecordedOp& entry : recording.ranks[r])
      if (plan.program.role_of(RankId(r)).ops[entry.op.index()].kind == plan::OpKind::dispatch)
        for (const NcclCall& call : entry.calls)
          if (call.function == NcclFunction::send || call.function == NcclFunction::copy) sent += call.count;
  EXPECT_EQ(sent, recording.steps * model.layers * plan.scenario.workload.sequences * model.top_k * model.hidden);
}

// With as many experts as GPUs on each, messages of one size go by one call of all members.
TEST(Recording, CapacityIsAnAllToAllWhereAllTakePart) {
  const plan::Plan plan = paper_plan("scaling-ep16", {kColocated, attention_setting(1, 16), "model.experts=32",
                                                      "deployment.experts.dispatch_mode=capacity"});
  const Recording recording = runtime::record(plan);
  std::int64_t found = 0;
  for (const RecordedOp& entry : recording.ranks[3])
    for (const NcclCall& call : entry.calls) {
      if (call.function != NcclFunction::all_to_all) continue;
      ++found;
      // 64 tokens on each GPU, top 2 and 2 experts on each: 128 slots of 8192; a dispatch has one row more.
      const bool dispatch = plan.program.role_of(RankId(3)).ops[entry.op.index()].kind == plan::OpKind::dispatch;
      EXPECT_EQ(call.count, (128 + (dispatch ? 1 : 0)) * 8192);
    }
  EXPECT_EQ(found, 2 * 4 * recording.steps);  // dispatch and combine of 4 layers
}

// ---- planted mistakes ----------------------------------------------------------------------------------------------

class Planted : public testing::Test {
 protected:
  Planted()
      : plan_(paper_plan("scaling-ep16", {kColocated, "deployment.experts.dispatch_mode=exact"})),
        recording_(runtime::record(plan_)) {}

  // The n-th communication of a rank that makes this call.
  RecordedOp& entry_with(std::int64_t rank, NcclFunction function, std::size_t n = 0) {
    for (RecordedOp& entry : recording_.ranks[static_cast<std::size_t>(rank)])
      if (has(entry, function) && n-- == 0) return entry;
    throw std::runtime_error("no such call");
  }
  static bool has(const RecordedOp& entry, NcclFunction function) {
    return std::any_of(entry.calls.begin(), entry.calls.end(),
                       [&](const NcclCall& call) { return call.function == function; });
  }
  static NcclCall& call_of(RecordedOp& entry, NcclFunction function) {
    return *std::find_if(entry.calls.begin(), entry.calls.end(),
                         [&](const NcclCall& call) { return call.function == function; });
  }
  std::string first_problem() {
    const RecordingVerdict verdict = check_recording(plan_, recording_);
    EXPECT_FALSE(verdict.passed());
    return verdict.passed() ? "" : verdict.problems.front();
  }

  plan::Plan plan_;
  Recording recording_;
};

TEST_F(Planted, NothingIsFoundWhereNothingIs) { EXPECT_TRUE(check_recording(plan_, recording_).passed()); }

TEST_F(Planted, AnotherCountOfACollective) {
  call_of(entry_with(5, NcclFunction::all_gather, 1), NcclFunction::all_gather).count += 1;
  EXPECT_THAT(first_problem(), HasSubstr("rank 5, step 0, l1.m0.attention_all_gather"));
}

TEST_F(Planted, AnotherCountOfAMessage) {
  call_of(entry_with(3, NcclFunction::send, 2), NcclFunction::send).count -= 8192;
  EXPECT_THAT(first_problem(), HasSubstr("message ncclSend"));
}

TEST_F(Planted, AnotherType) {
  call_of(entry_with(9, NcclFunction::reduce_scatter), NcclFunction::reduce_scatter).dtype = DType::bf16;
  EXPECT_THAT(first_problem(), HasSubstr("of 524288 bf16 at rank 9"));
}

TEST_F(Planted, AnotherFunction) {
  call_of(entry_with(9, NcclFunction::reduce_scatter), NcclFunction::reduce_scatter).function =
      NcclFunction::all_gather;
  EXPECT_THAT(first_problem(), HasSubstr("meets ncclAllGather"));
}

TEST_F(Planted, AnotherOrder) {
  std::swap(entry_with(2, NcclFunction::all_gather), entry_with(2, NcclFunction::reduce_scatter));
  EXPECT_THAT(first_problem(), HasSubstr("rank 2, step 0, l0.m0.attention_reduce_scatter"));
}

TEST_F(Planted, AReceiveThatIsMissing) {
  RecordedOp& entry = entry_with(7, NcclFunction::recv, 1);
  entry.calls.erase(std::find_if(entry.calls.begin(), entry.calls.end(),
                                 [](const NcclCall& call) { return call.function == NcclFunction::recv; }));
  EXPECT_THAT(first_problem(), HasSubstr("communicator \"ep on compute\""));
}

TEST_F(Planted, AnotherPeer) {
  NcclCall& call = call_of(entry_with(7, NcclFunction::send), NcclFunction::send);
  call.peer = call.peer == 1 ? 2 : 1;
  EXPECT_THAT(first_problem(), HasSubstr("message"));
}

TEST_F(Planted, AGroupThatIsNotEnded) {
  while (has(entry_with(4, NcclFunction::group_start), NcclFunction::group_end))
    entry_with(4, NcclFunction::group_start).calls.pop_back();
  EXPECT_THAT(first_problem(),
              HasSubstr("rank 4, step 0, l0.m0.exchange_counts: a group that is not begun or not ended"));
}

TEST_F(Planted, CallsWithoutAGroup) {
  std::erase_if(entry_with(4, NcclFunction::group_start).calls, [](const NcclCall& call) {
    return call.function == NcclFunction::group_start || call.function == NcclFunction::group_end;
  });
  EXPECT_THAT(first_problem(), HasSubstr("calls without a group around them"));
}

TEST_F(Planted, ACommunicatorOnTwoStreams) {
  entry_with(6, NcclFunction::all_gather, 2).stream = plan::kCommunication;
  EXPECT_THAT(first_problem(), HasSubstr("communicator \"tp on compute\" is used on streams compute and"));
}

// Every communicator for itself is used in the same order by all: but rank 0 gathers in its tensor-parallel group
// before it exchanges counts with all, and rank 1, which is in both with it, the other way round.
TEST_F(Planted, ACircleOverTwoCommunicators) {
  auto& log = recording_.ranks[1];
  const auto gather = std::find_if(log.begin(), log.end(), [](const RecordedOp& entry) {
    return entry.step == 0 && has(entry, NcclFunction::reduce_scatter);
  });
  const auto counts =
      std::find_if(gather, log.end(), [](const RecordedOp& entry) { return has(entry, NcclFunction::send); });
  std::iter_swap(gather, counts);
  for (RecordedOp& entry : log) entry.host_waits_for = -1;
  const std::string problem = first_problem();
  EXPECT_THAT(problem, HasSubstr("deadlock: "));
  EXPECT_THAT(problem, HasSubstr("rank 1, step 0, l0.m0.exchange_counts"));
}

// A host that waits for counts before it has issued what they wait for.
TEST_F(Planted, AHostThatWaitsForWhatItHasNotIssued) {
  auto& log = recording_.ranks[8];
  const auto counts = std::find_if(log.begin(), log.end(), [](const RecordedOp& entry) {
    return entry.step == 0 && has(entry, NcclFunction::send);
  });
  log.front().host_waits_for = static_cast<std::int32_t>(counts - log.begin());
  EXPECT_THAT(first_problem(), HasSubstr("deadlock: "));
}

// Events are all that keeps streams behind one another: without one of them an op may start too early.
TEST(Recording, AnEventThatIsNotWaitedFor) {
  const plan::Plan plan = small_plan({kColocated, attention_setting(2, 2), "deployment.overlap=two_batch",
                                      "deployment.micro_batches=2", "workload.sequences=13"});
  Recording recording = runtime::record(plan);
  EXPECT_TRUE(check_recording(plan, recording).passed());
  auto& log = recording.ranks[2];
  const auto waiting =
      std::find_if(log.begin(), log.end(), [](const RecordedOp& entry) { return !entry.waits.empty(); });
  ASSERT_NE(waiting, log.end());
  waiting->waits.clear();
  const RecordingVerdict verdict = check_recording(plan, recording);
  ASSERT_FALSE(verdict.passed());
  EXPECT_THAT(verdict.problems.front(), testing::StartsWith("rank 2, step 0, "));
  EXPECT_THAT(verdict.problems.front(), HasSubstr(": may start before rank 2, step 0, "));
}

// Pipeline stages that send to one another need both ways at once; a plan in one stage does not.
TEST(Recording, TellsWhetherOneCommunicationAtATimeWouldDo) {
  const auto one_at_a_time = [](const plan::Plan& plan) {
    return check_recording(plan, runtime::record(plan)).one_at_a_time;
  };
  EXPECT_TRUE(one_at_a_time(paper_plan("scaling-ep16", {})));
  EXPECT_FALSE(one_at_a_time(paper_plan("baseline-tp8-pp2", {})));
}

// ---- a token once per node: two groups in one op
// ---------------------------------------------------------------------

const std::vector<std::string> kHierarchical{R"(deployment.collectives={"exchange":"hierarchical"})"};

// Any dispatch of a rank that hands on what came to it.
RecordedOp& passing_dispatch(const plan::Plan& plan, Recording& recording) {
  for (std::size_t r = 0; r < recording.ranks.size(); ++r)
    for (RecordedOp& entry : recording.ranks[r]) {
      const plan::Op& op = plan.program.role_of(RankId(r)).ops[entry.op.index()];
      const auto ends = std::find_if(entry.calls.begin(), entry.calls.end(),
                                     [](const NcclCall& call) { return call.function == NcclFunction::group_end; });
      if (op.kind == plan::OpKind::dispatch && ends != entry.calls.end() &&
          std::any_of(ends, entry.calls.end(),
                      [](const NcclCall& call) { return call.function == NcclFunction::send; }))
        return entry;
    }
  throw std::logic_error("nothing is passed on");
}

TEST(Recording, SendsOncePerNodeInTwoGroups) {
  const plan::Plan plan = paper_plan("scaling-ep16", kHierarchical);
  Recording recording = runtime::record(plan);
  const RecordedOp& entry = passing_dispatch(plan, recording);
  EXPECT_EQ(std::count_if(entry.calls.begin(), entry.calls.end(),
                          [](const NcclCall& call) { return call.function == NcclFunction::group_start; }),
            2);
}

// A rank hands on in its first group what comes to it only in that group.
TEST(Recording, FindsAMessageInTheWrongGroup) {
  const plan::Plan plan = paper_plan("scaling-ep16", kHierarchical);
  Recording recording = runtime::record(plan);
  RecordedOp& entry = passing_dispatch(plan, recording);
  const auto passed = std::find_if(entry.calls.rbegin(), entry.calls.rend(),
                                   [](const NcclCall& call) { return call.function == NcclFunction::send; });
  const NcclCall call = *passed;
  entry.calls.erase(std::next(passed).base());
  entry.calls.insert(std::find_if(entry.calls.begin(), entry.calls.end(),
                                  [](const NcclCall& c) { return c.function == NcclFunction::group_end; }),
                     call);
  const RecordingVerdict verdict = check_recording(plan, recording);
  ASSERT_FALSE(verdict.passed());
  EXPECT_THAT(verdict.problems.front(), HasSubstr(", in another group of the op"));
}

// One row too few is handed on.
TEST(Recording, FindsARowThatIsNotHandedOn) {
  const plan::Plan plan = paper_plan("scaling-ep16", kHierarchical);
  Recording recording = runtime::record(plan);
  RecordedOp& entry = passing_dispatch(plan, recording);
  const auto passed = std::find_if(entry.calls.rbegin(), entry.calls.rend(),
                                   [](const NcclCall& call) { return call.function == NcclFunction::send; });
  passed->count -= plan.scenario.model.hidden;
  const RecordingVerdict verdict = check_recording(plan, recording);
  ASSERT_FALSE(verdict.passed());
  EXPECT_THAT(verdict.problems.front(), HasSubstr(" meets ncclRecv of "));
}

}  // namespace
}  // namespace foretoken::test
