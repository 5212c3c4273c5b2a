// Which SMs kernels of communication hold, and how a compute op runs on what is left: the invented GPU has 100 SMs.
#include "sim/gpu_interference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "sim/simulate.hpp"
#include "tests/sim/cost/invented_compute.hpp"

namespace foretoken::sim {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kScenario = R"({
  "kind": "scenario", "schema_version": 1, "name": "interference",
  "model": {"name": "small", "layers": 2, "hidden": 2048, "heads": 16, "head_dim": 128, "experts": 16, "top_k": 2,
            "expert_hidden": 8192, "gated": false, "dtype": {"weights": "fp16"}},
  "workload": {"kind": "decode", "sequences": 1024, "context": 255},
  "routing": {"kind": "uniform", "seed": 1, "routed_steps": 1},
  "deployment": {"attention": {"tp": 2, "dp": 1}, "experts": {"placement": "colocated", "exchange": "all_reduce"}},
  "cluster": {"topology": "topologies/hgx-h100-2nodes-ndr400.json"},
  "measure": {"warmup_steps": 1, "steps": 1}
})";

struct Case {
  plan::Plan plan;
  plan::Machine machine;
  Calibration calibration;
  plan::RowCounter rows{plan.placement, plan.routing, plan.scenario.model.experts};

  [[nodiscard]] OpId op(const std::string& name, RankId rank = RankId(0)) const {
    const auto& ops = plan.program.role_of(rank).ops;
    for (std::size_t o = 0; o < ops.size(); ++o)
      if (ops[o].name == name) return OpId(o);
    throw std::out_of_range(name);
  }
  [[nodiscard]] std::int64_t sms(const std::string& name) {
    return GpuInterference(plan, machine, calibration, "", rows).sms_of(RankId(0), op(name));
  }
};

Case make(const std::vector<std::string>& changes) {
  JsonDocument document = JsonDocument::from_text(kScenario, "interference");
  for (const std::string& change : changes) document.set(change);
  const plan::Scenario scenario = plan::parse_scenario(document);
  plan::Topology topology = plan::read_topology(scenario.cluster.topology);
  Calibration calibration = read_calibration(topology.calibration);
  topology.device = invented_device();
  calibration.device.name = topology.device.name;
  calibration.compute = invented_calibration();
  const plan::Machine machine = plan::build_machine(topology);
  return {plan::make_plan(scenario, machine), machine, calibration};
}

TEST(GpuInterference, HoldsSmsByKindOfKernelAndByWhereItGoes) {
  const std::string all_reduce = "l0.m0.attention_all_reduce";
  EXPECT_EQ(make({"deployment.collectives.all_reduce=ring"}).sms(all_reduce), 24);
  EXPECT_EQ(make({"deployment.collectives.all_reduce=ring", "deployment.attention.tp=16"}).sms(all_reduce), 16);
  EXPECT_EQ(make({"deployment.collectives.all_reduce=nvls"}).sms(all_reduce), 16);
  EXPECT_EQ(make({"deployment.collectives.all_reduce=direct"}).sms(all_reduce), 36);
  EXPECT_EQ(make({"deployment.pipeline={\"stages\":2}"}).sms("m0.send"), 32);
  EXPECT_EQ(make({"deployment.pipeline={\"stages\":2}", "deployment.attention.tp=8"}).sms("m0.send"), 2);
  const std::vector<std::string> dispatch{"deployment.attention={\"tp\":1,\"dp\":2}",
                                          "deployment.experts.exchange=dispatch"};
  EXPECT_EQ(make(dispatch).sms("l0.m0.dispatch"), 0);
  Case normal = make(dispatch);
  normal.calibration.interference.dispatch = 20;
  EXPECT_EQ(normal.sms("l0.m0.dispatch"), 20);
  Case alone = make({"deployment.attention={\"tp\":1,\"dp\":1}", "deployment.experts.exchange=dispatch"});
  alone.calibration.interference.dispatch = 20;
  EXPECT_EQ(alone.sms("l0.m0.dispatch"), 0) << "a group of one sends nothing";
}

// qkv: m = 1024, n = 3 x 1024, k = 2048 of fp16: floor 1 us and the roofline, which has its math on 76 of 100 SMs.
TEST(GpuInterference, ArithmeticSlowsDownAndReadingDoesNot) {
  Case some = make({});
  GpuInterference interference(some.plan, some.machine, some.calibration, "", some.rows);
  MachineRates rates = machine_rates(invented_device(), invented_l2(), FlopsPerSecond(1e15));
  const GemmShape shape{1024, 3072, 2048, 2};
  const Seconds alone = Seconds(1e-6) + gemm_roofline(shape, rates);
  rates.peak = rates.peak * 0.76;
  const Seconds crowded = Seconds(1e-6) + gemm_roofline(shape, rates);
  const double speed = interference.speed_of(RankId(0), some.op("l0.m0.qkv"), 0, 24);
  EXPECT_NEAR(speed, ratio(alone, crowded), 1e-12);
  EXPECT_LT(speed, 0.95);
  EXPECT_GT(speed, 0.76);
  EXPECT_EQ(interference.speed_of(RankId(0), some.op("l0.m0.attention_norm"), 0, 24), 1.0);
  EXPECT_EQ(interference.speed_of(RankId(0), some.op("l0.m0.qkv"), 0, 0), 1.0);
}

// However many SMs are asked for, one is left: 99 held, or 1,000.
TEST(GpuInterference, LeavesOneSm) {
  Case some = make({});
  GpuInterference interference(some.plan, some.machine, some.calibration, "", some.rows);
  const OpId op = some.op("l0.m0.qkv");
  EXPECT_EQ(interference.speed_of(RankId(0), op, 0, 99), interference.speed_of(RankId(0), op, 0, 1000));
  EXPECT_GT(interference.speed_of(RankId(0), op, 0, 1000), 0.01);
}

// ---- in whole simulations ------------------------------------------------------------------------------------------

TEST(GpuInterference, TheTraceSaysWhatItAssumes) {
  const Case turns = make({});
  EXPECT_TRUE(simulate(turns.plan, turns.machine, turns.calibration).assumed.empty());
  const Case beside = make({"deployment.overlap=two_batch", "deployment.micro_batches=2"});
  EXPECT_THAT(simulate(beside.plan, beside.machine, beside.calibration).assumed, ElementsAre(HasSubstr("SMs")));
  const Case eager = make({"execution={\"mode\":\"eager\"}"});
  EXPECT_THAT(simulate(eager.plan, eager.machine, eager.calibration).assumed, ElementsAre(HasSubstr("launching")));
  const Case own = make({"execution={\"mode\":\"eager\",\"launch\":\"3 us\",\"gap\":\"0 us\"}"});
  EXPECT_TRUE(simulate(own.plan, own.machine, own.calibration).assumed.empty());
}

// Two batches with tensor parallelism: all-reduces of one hide behind compute of the other, on 24 SMs less. It costs
// something, and no more than if every op had been bound by arithmetic all the time, 100 / 76, and had shared memory.
TEST(GpuInterference, SlowsDownWhatIsBesideAllReduces) {
  const Case beside =
      make({"deployment.overlap=two_batch", "deployment.micro_batches=2", "deployment.collectives.all_reduce=ring"});
  SimulateOptions without;
  without.interference = false;
  const Trace with = simulate(beside.plan, beside.machine, beside.calibration);
  const Trace alone = simulate(beside.plan, beside.machine, beside.calibration, without);
  double slowest = 1;
  for (std::size_t event = 0; event < with.size(); ++event) {
    if (with.op_of(event).communication || alone.ended[event] == alone.begun[event]) continue;
    const double slowdown = ratio(with.ended[event] - with.begun[event], alone.ended[event] - alone.begun[event]);
    EXPECT_GE(slowdown, 1 - 1e-6) << with.op_of(event).name;
    if (with.op_of(event).kind == "gemm") slowest = std::max(slowest, slowdown);
  }
  EXPECT_GT(slowest, 1.01);
  EXPECT_GT(with.outputs.back().time, alone.outputs.back().time);
}

TEST(GpuInterference, LaunchingDoesNotChangeTheWork) {
  const Case plain = make({});
  const Case eager = make({"execution={\"mode\":\"eager\",\"host_waits\":true}"});
  EXPECT_EQ(plain.plan.plan_hash, eager.plan.plan_hash);
  EXPECT_LT(simulate(plain.plan, plain.machine, plain.calibration).outputs.back().time,
            simulate(eager.plan, eager.machine, eager.calibration).outputs.back().time);
}

}  // namespace
}  // namespace foretoken::sim
