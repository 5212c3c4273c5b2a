// What all ranks post to NCCL fits together, for whole programs and without a GPU.
#include "runtime/cuda/nccl_calls.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "runtime/cuda/channels.hpp"
#include "tests/runtime/small_plan.hpp"

namespace foretoken::test {
namespace {

using runtime::RowTables;
using runtime::cuda::Channel;
using runtime::cuda::Channels;
using runtime::cuda::LocalCopy;
using runtime::cuda::NcclCall;
using runtime::cuda::NcclGroup;
using runtime::cuda::NcclVerb;
using Settings = std::vector<std::string>;

struct Rank {
  std::unique_ptr<RowTables> tables;
  std::unique_ptr<Channels> channels;
};

std::vector<Rank> ranks_of(const plan::Plan& plan) {
  std::vector<Rank> ranks;
  for (std::int32_t r = 0; r < plan.program.ranks; ++r)
    ranks.push_back({std::make_unique<RowTables>(plan, RankId(r)), std::make_unique<Channels>(plan, RankId(r))});
  return ranks;
}

// All ranks have one list of channels; the members of an instance name each other.
void expect_channels_agree(const std::vector<Rank>& ranks) {
  const std::size_t count = ranks.front().channels->all().size();
  for (std::size_t c = 0; c < count; ++c) {
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      ASSERT_EQ(ranks[r].channels->all().size(), count);
      const Channel& channel = ranks[r].channels->all()[c];
      EXPECT_EQ(channel.name, ranks.front().channels->all()[c].name);
      if (!channel.joined()) continue;
      EXPECT_EQ(channel.members.at(static_cast<std::size_t>(channel.own)), RankId(r));
      EXPECT_TRUE(std::is_sorted(channel.members.begin(), channel.members.end()));
      for (const RankId member : channel.members)
        EXPECT_EQ(ranks[member.index()].channels->all()[c].members, channel.members) << channel.name;
    }
  }
}

// Plays all calls of a routed step through queues: a message is what a rank sends to another in a channel, a collective
// what a channel's members do; both in the order in which they are posted.
void expect_calls_agree(const plan::Plan& plan, std::int64_t routed_step) {
  const std::vector<Rank> ranks = ranks_of(plan);
  expect_channels_agree(ranks);
  using Pair = std::tuple<std::int64_t, RankId, RankId>;  // channel, from, to
  std::map<Pair, std::vector<std::int64_t>> sent;
  std::map<Pair, std::vector<std::int64_t>> received;
  using Member = std::pair<std::int64_t, RankId>;  // channel, rank
  using Collective = std::tuple<NcclVerb, std::int64_t, std::int64_t, DType>;
  std::map<Member, std::vector<Collective>> collectives;
  std::map<Member, plan::Stream> stream_of;
  for (std::int32_t r = 0; r < plan.program.ranks; ++r) {
    const RankId rank(r);
    const Rank& own = ranks[rank.index()];
    const plan::Role& role = plan.program.role_of(rank);
    for (const plan::Op& op : role.ops) {
      if (!is_communication(op.kind)) continue;
      const NcclGroup group = nccl_calls(plan, rank, *own.tables, *own.channels, op, routed_step);
      EXPECT_EQ(group.dtype, op.dtype);
      if (group.calls.empty()) continue;
      ASSERT_GE(group.channel, 0) << op.name;
      const Channel& channel = own.channels->all()[static_cast<std::size_t>(group.channel)];
      ASSERT_TRUE(channel.joined()) << op.name;
      const auto [place, added] = stream_of.try_emplace({group.channel, rank}, op.stream);
      EXPECT_EQ(place->second, op.stream) << channel.name << " is used on two streams of rank " << r;
      const auto size = [&](TensorId tensor) {
        const plan::Tensor& what = role.tensors[tensor.index()];
        return static_cast<std::size_t>(own.tables->rows(what.rows, routed_step) * what.cols *
                                        bytes_per_element(what.dtype));
      };
      const auto bytes = static_cast<std::size_t>(bytes_per_element(op.dtype));
      for (const NcclCall& call : group.calls) {
        EXPECT_GT(call.count, 0);
        const auto members = static_cast<std::int64_t>(channel.members.size());
        if (call.verb == NcclVerb::send || call.verb == NcclVerb::receive) {
          ASSERT_NE(call.peer, channel.own) << op.name;
          const RankId peer = channel.members.at(static_cast<std::size_t>(call.peer));
          const std::size_t end = static_cast<std::size_t>(call.count) * bytes;
          if (call.verb == NcclVerb::send) {
            sent[{group.channel, rank, peer}].push_back(call.count);
            EXPECT_LE(call.in_offset + end, size(op.inputs.front())) << op.name;
          } else {
            received[{group.channel, peer, rank}].push_back(call.count);
            EXPECT_LE(call.out_offset + end, size(op.outputs.front())) << op.name;
          }
          continue;
        }
        collectives[{group.channel, rank}].push_back({call.verb, call.count, call.peer, group.dtype});
        const bool root = call.peer == channel.own;
        const auto count = static_cast<std::size_t>(call.count);
        const std::size_t in =
            call.verb == NcclVerb::reduce_scatter ? count * static_cast<std::size_t>(members) : count;
        const std::size_t out = call.verb == NcclVerb::all_gather ? count * static_cast<std::size_t>(members) : count;
        if (call.verb != NcclVerb::broadcast || root) {
          EXPECT_LE(call.in_offset + in * bytes, size(op.inputs.front())) << op.name;
        }
        if (call.verb != NcclVerb::reduce || root) {
          EXPECT_LE(call.out_offset + out * bytes, size(op.outputs.front())) << op.name;
        }
      }
    }
  }
  EXPECT_EQ(sent, received);
  for (const auto& [member, calls] : collectives) {
    const Channel& channel = ranks[member.second.index()].channels->all()[static_cast<std::size_t>(member.first)];
    for (const RankId other : channel.members)
      EXPECT_EQ((collectives[{member.first, other}]), calls)
          << channel.name << " of ranks " << member.second.value() << " and " << other.value();
  }
}

const Settings kRings{R"(deployment.collectives={"all_reduce":"ring","all_gather":"ring","reduce_scatter":"ring"})"};

Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(NcclCalls, OfAllRanksFitTogether) {
  const std::vector<Settings> deployments{
      {R"(deployment.attention={"tp":4,"dp":2})"},
      {R"(deployment.attention={"tp":2,"dp":2})", "model.layers=4", R"(deployment.pipeline={"stages":2})",
       "deployment.micro_batches=2"},
      {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
       R"(deployment.attention={"tp":1,"dp":4})"},
      {R"(deployment.experts={"placement":"round_robin","exchange":"dispatch"})",
       R"(deployment.attention={"tp":2,"dp":4})", "model.experts=11", "model.top_k=3", "workload.sequences=37"},
      {R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
       R"(deployment.attention={"tp":2,"dp":2})", "deployment.overlap=two_batch", "deployment.micro_batches=2",
       "workload.sequences=13"},
      {R"(deployment.experts={"placement":"sharded","exchange":"all_reduce"})",
       R"(deployment.attention={"tp":2,"dp":1})"}};
  for (const Settings& deployment : deployments) {
    const plan::Plan plan = small_plan(kRings + deployment);
    SCOPED_TRACE(testing::PrintToString(deployment));
    for (std::int64_t step = 0; step < plan.routing.routed_steps(); ++step) expect_calls_agree(plan, step);
  }
}

TEST(NcclCalls, OfLargeDeploymentsFitTogether) {
  for (const char* name : {"baseline-r64-tp8-pp2-dp4", "large-ep-r64", "baseline-r16-tp8-pp2", "large-ep-r16"}) {
    SCOPED_TRACE(name);
    expect_calls_agree(laptop_plan(name, kRings), 1);
  }
}

TEST(NcclCalls, CountExactly) {
  // One layer of 32 columns in fp16: 8 rows over 4 members are slices of 2; 7 rows are 2, 2, 2 and 1.
  const Settings sliced{R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})",
                        R"(deployment.attention={"tp":4,"dp":1})", R"(model.dtype={"weights":"fp16"})"};
  for (const std::int64_t sequences : {8, 7}) {
    const plan::Plan plan = small_plan(kRings + sliced + Settings{"workload.sequences=" + std::to_string(sequences)});
    const RankId rank(3);
    const RowTables tables(plan, rank);
    const Channels channels(plan, rank);
    for (const plan::Op& op : plan.program.role_of(rank).ops) {
      if (op.name != "l0.m0.attention_all_gather" && op.name != "l0.m0.attention_reduce_scatter") continue;
      const bool gathers = op.kind == plan::OpKind::all_gather;
      const NcclGroup group = nccl_calls(plan, rank, tables, channels, op, 0);
      if (sequences == 8) {
        EXPECT_EQ(
            group.calls,
            (std::vector<NcclCall>{{gathers ? NcclVerb::all_gather : NcclVerb::reduce_scatter, 0, 0, 2 * 32, -1}}));
        continue;
      }
      std::vector<NcclCall> expected;
      for (std::int64_t root = 0; root < 4; ++root) {
        const auto offset = static_cast<std::size_t>(root * 2 * 32 * 2);
        expected.push_back({gathers ? NcclVerb::broadcast : NcclVerb::reduce, gathers ? 0 : offset,
                            gathers ? offset : 0, (root < 3 ? 2 : 1) * 32, root});
      }
      EXPECT_EQ(group.calls, expected) << op.name;
    }
  }
}

TEST(NcclCalls, OfOneRankAreCopies) {
  // All 8 tokens' 2 choices stay: 16 rows of 32 columns in fp32.
  const plan::Plan plan = small_plan({R"(deployment.experts={"placement":"colocated","exchange":"dispatch"})"});
  const RowTables tables(plan, RankId(0));
  const Channels channels(plan, RankId(0));
  EXPECT_TRUE(channels.all().empty());
  int exchanges = 0;
  for (const plan::Op& op : plan.program.role_of(RankId(0)).ops) {
    if (!is_communication(op.kind)) continue;
    const NcclGroup group = nccl_calls(plan, RankId(0), tables, channels, op, 0);
    EXPECT_TRUE(group.calls.empty());
    EXPECT_EQ(group.copies, (std::vector<LocalCopy>{{0, 0, 16 * 32 * 4}}));
    ++exchanges;
  }
  EXPECT_EQ(exchanges, 2 * 3);
}

TEST(NcclCalls, RefuseWhatNcclHasNot) {
  const plan::Plan plan =
      small_plan({R"(deployment.attention={"tp":2,"dp":1})", R"(deployment.collectives={"all_reduce":"direct"})"});
  const RowTables tables(plan, RankId(0));
  const Channels channels(plan, RankId(0));
  for (const plan::Op& op : plan.program.role_of(RankId(0)).ops) {
    if (op.kind != plan::OpKind::all_reduce) continue;
    try {
      nccl_calls(plan, RankId(0), tables, channels, op, 0);
      FAIL() << "direct was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      EXPECT_THAT(error.what(), testing::HasSubstr("deployment.collectives.all_reduce=ring"));
    }
  }
}

// A pipeline of three stages: hidden states go on, tokens go back, each on a way of its own.
TEST(Channels, EveryWayBetweenStagesHasItsOwn) {
  const plan::Plan plan = small_plan({R"(deployment.pipeline={"stages":3})"});
  const Channels channels(plan, RankId(1));
  std::vector<std::string> names;
  for (const Channel& channel : channels.all()) names.push_back(channel.name + (channel.joined() ? "" : " (not here)"));
  EXPECT_EQ(names, (std::vector<std::string>{"stage 0 to 1", "stage 1 to 2", "stage 2 to 0 (not here)"}));
}

}  // namespace
}  // namespace foretoken::test
