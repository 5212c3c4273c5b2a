// Programs that are broken by hand, one thing at a time: the validator has to name each.
#include "plan/program/validate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>

#include "core/error.hpp"
#include "tests/plan/plan_files.hpp"

namespace foretoken::plan::test {
namespace {

using testing::HasSubstr;

std::size_t index_of(const Role& role, const std::string& name) {
  for (std::size_t i = 0; i < role.ops.size(); ++i)
    if (role.ops[i].name == name) return i;
  throw std::runtime_error("no op " + name);
}

Op& op_of(Role& role, const std::string& name) { return role.ops[index_of(role, name)]; }

void remove(Role& role, const std::string& name) {
  const auto removed = static_cast<std::ptrdiff_t>(index_of(role, name));
  role.ops.erase(role.ops.begin() + removed);
  // Ids are positions: what stood behind the removed op has moved up by one.
  for (Op& op : role.ops) {
    std::erase_if(op.dependencies, [&](const Dependency& d) { return d.op.value() == removed; });
    for (Dependency& d : op.dependencies)
      if (d.op.value() > removed) d.op = OpId(d.op.index() - 1);
  }
}

std::string verdict(const std::string& base, const std::vector<Edit>& edits,
                    const std::function<void(Program&)>& damage) {
  Plan plan = plan_of_base(base, edits);
  validate(plan.program, plan.placement);
  damage(plan.program);
  try {
    validate(plan.program, plan.placement);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
    return error.what();
  }
  return "valid";
}

std::string verdict(const std::string& base, const std::function<void(Program&)>& damage) {
  return verdict(base, {}, damage);
}

TEST(Validate, UntouchedProgramsAreValid) {
  EXPECT_EQ(verdict("stages", [](Program&) {}), "valid");
  EXPECT_EQ(verdict("dispatch", [](Program&) {}), "valid");
}

TEST(Validate, SendWithoutRecv) {
  const std::string message = verdict("stages", [](Program& program) { remove(program.roles[0], "m1.recv_tokens"); });
  EXPECT_THAT(message, HasSubstr("role1 (stage 1) m1.send_tokens: nobody receives it"));
}

TEST(Validate, RecvWithoutSend) {
  EXPECT_THAT(verdict("stages", [](Program& program) { remove(program.roles[0], "m0.send"); }),
              HasSubstr("role1 (stage 1) m0.recv: nobody sends it"));
}

TEST(Validate, SizesOfATransferDiffer) {
  EXPECT_THAT(
      verdict("stages",
              [](Program& program) { std::get<TransferOp>(op_of(program.roles[0], "m0.send").detail).rows = 3; }),
      HasSubstr("m0.send: the two ends disagree about peer or size"));
}

TEST(Validate, PeerThatDoesNotExist) {
  EXPECT_THAT(verdict("stages",
                      [](Program& program) {
                        std::get<TransferOp>(op_of(program.roles[0], "m0.send").detail).peer_offset = 100;
                      }),
              HasSubstr("m0.send: its peer is no rank"));
}

// Stage 0 sends m0 first; if stage 1 receives m1 first while the pipeline streams are in order, and computes m0 before
// it posts the second receive, both wait for each other.
TEST(Validate, OrderOfTransfersDiffers) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[1];
    std::swap(op_of(role, "m0.recv"), op_of(role, "m1.recv"));
    // Each op's readers stay behind it: only the order on the stream of receives has changed.
    std::swap(op_of(role, "m0.recv").outputs, op_of(role, "m1.recv").outputs);
  });
  EXPECT_THAT(message, HasSubstr("waits for itself: ranks would deadlock"));
}

// One of two ranks enters two all-reduces in the other order: with both on one in-order stream, neither can start.
TEST(Validate, OrderOfCollectivesDiffers) {
  // 9 sequences, 2 ranks: slices of 5 and 4 tokens make two roles of one tensor-parallel group.
  const std::vector<Edit> uneven{
      {"/workload/sequences", "9"}, {"/deployment/pipeline/stages", "1"}, {"/deployment/micro_batches", "1"}};
  const std::string message = verdict("stages", uneven, [](Program& program) {
    ASSERT_EQ(program.roles.size(), 2u);
    Op& first = op_of(program.roles[1], "l0.m0.attention_all_reduce");
    Op& second = op_of(program.roles[1], "l0.m0.expert_all_reduce");
    std::swap(first.detail, second.detail);
  });
  EXPECT_THAT(message, HasSubstr("waits for itself: ranks would deadlock"));
}

TEST(Validate, SizesOfACollectiveDiffer) {
  const std::vector<Edit> uneven{{"/workload/sequences", "9"}, {"/deployment/micro_batches", "1"}};
  EXPECT_THAT(
      verdict("stages", uneven,
              [](Program& program) {
                std::get<CollectiveOpDetail>(op_of(program.roles[1], "l0.m0.attention_all_reduce").detail).rows = 8;
              }),
      HasSubstr("l0.m0.attention_all_reduce: members of its group disagree about its size"));
}

TEST(Validate, MemberOfACollectiveIsMissing) {
  const std::vector<Edit> uneven{{"/workload/sequences", "9"}, {"/deployment/micro_batches", "1"}};
  const std::string message = verdict("stages", uneven, [](Program& program) {
    Role& role = program.roles[1];
    op_of(role, "l0.m0.mlp_norm").inputs[1] = op_of(role, "l0.m0.attention_all_reduce").inputs[0];
    remove(role, "l0.m0.attention_all_reduce");
  });
  EXPECT_THAT(message, HasSubstr("l0.m0.attention_all_reduce is not entered by every member of a group"));
}

TEST(Validate, KindDiffersFromTheCommunications) {
  EXPECT_THAT(verdict("stages",
                      [](Program& program) {
                        op_of(program.roles[0], "l0.m0.attention_all_reduce").kind = OpKind::all_gather;
                      }),
              HasSubstr("its kind differs from its communication's"));
}

TEST(Validate, CommunicationEnteredTwice) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    op_of(role, "l0.m1.attention_all_reduce").detail = op_of(role, "l0.m0.attention_all_reduce").detail;
  });
  EXPECT_THAT(message, HasSubstr("l0.m1.attention_all_reduce: it takes part in its communication twice"));
}

TEST(Validate, HostThatDoesNotTakePart) {
  EXPECT_THAT(verdict("dispatch",
                      [](Program& program) {
                        std::get<ExchangeOp>(op_of(program.roles[0], "l1.m0.dispatch.c1").detail).host = false;
                      }),
              HasSubstr("l1.m0.dispatch.c1: role 0 is not a source and a host, but takes part otherwise"));
}

TEST(Validate, SourceOfAnotherChunk) {
  EXPECT_THAT(verdict("dispatch",
                      [](Program& program) {
                        std::get<ExchangeOp>(op_of(program.roles[0], "l1.m0.combine.c1").detail).source = true;
                      }),
              HasSubstr("l1.m0.combine.c1: role 0 is not a source and a host, but takes part otherwise"));
}

TEST(Validate, ReadBeforeWrite) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    std::swap(op_of(role, "l0.m0.qkv"), op_of(role, "l0.m0.attention_norm"));
  });
  EXPECT_THAT(message, HasSubstr("role0 (stage 0) l0.m0.qkv: l0.m0.attention_norm is read before it is written"));
}

TEST(Validate, WrittenTwice) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    op_of(role, "l0.m0.qkv").outputs = op_of(role, "l0.m0.attention_norm").outputs;
  });
  EXPECT_THAT(message, HasSubstr("l0.m0.qkv: l0.m0.attention_norm is written twice or is a weight"));
}

TEST(Validate, WeightWritten) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    op_of(role, "l0.m0.qkv").outputs = {op_of(role, "l0.m0.qkv").inputs[1]};
  });
  EXPECT_THAT(message, HasSubstr("l0.m0.qkv: l0.w_qkv is written twice or is a weight"));
}

TEST(Validate, DuplicateName) {
  EXPECT_THAT(verdict("stages", [](Program& program) { op_of(program.roles[0], "l0.m0.qkv").name = "l0.m0.rope_kv"; }),
              HasSubstr("l0.m0.rope_kv: another op has this name"));
}

TEST(Validate, TensorOutOfRange) {
  EXPECT_THAT(
      verdict("stages",
              [](Program& program) { op_of(program.roles[0], "l0.m0.qkv").inputs[0] = TensorId(std::size_t{9999}); }),
      HasSubstr("l0.m0.qkv: an input is out of range"));
  EXPECT_THAT(verdict("stages", [](Program& program) { op_of(program.roles[0], "l0.m0.qkv").outputs[0] = TensorId(); }),
              HasSubstr("l0.m0.qkv: an output is out of range"));
}

TEST(Validate, DependencyOnALaterOp) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    op_of(role, "l0.m0.qkv").dependencies.push_back({OpId(index_of(role, "m0.send")), 0});
  });
  EXPECT_THAT(message, HasSubstr("l0.m0.qkv: a dependency does not name an earlier op"));
}

// Stage 0 would wait in this step for tokens that stage 1 makes of what stage 0 sends after it: a cycle over two roles.
TEST(Validate, CycleThroughStreamsOfTwoRoles) {
  const std::string message = verdict("stages", [](Program& program) {
    Role& role = program.roles[0];
    const std::size_t send = index_of(role, "m0.send");
    const std::size_t recv = index_of(role, "m0.recv_tokens");
    std::swap(role.ops[send], role.ops[recv]);
    role.ops[recv].dependencies = {{OpId(send), 0}};  // m0.send, now later, waits for m0.recv_tokens
  });
  EXPECT_THAT(message, HasSubstr("waits for itself: ranks would deadlock"));
}

TEST(Validate, ComputeOpWithACommunication) {
  EXPECT_THAT(
      verdict("stages",
              [](Program& program) { op_of(program.roles[0], "l0.m0.attention_all_reduce").kind = OpKind::add; }),
      HasSubstr("a compute op names a communication"));
}

TEST(Validate, CommunicationOutOfRange) {
  const std::string message = verdict("stages", [](Program& program) {
    std::get<TransferOp>(op_of(program.roles[0], "m0.send").detail).communication = CommunicationId(std::size_t{9999});
  });
  EXPECT_THAT(message, HasSubstr("m0.send: its communication is out of range"));
}

}  // namespace
}  // namespace foretoken::plan::test
