// A GPU measured and fitted, from the list of probes to a calibration: on a machine that is made up, whose numbers must
// come out again.
#include "calibrate/measure/measure_device.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "calibrate/measure/device_calibration.hpp"
#include "calibrate/measure/device_probes.hpp"
#include "calibrate/measure/device_samples.hpp"
#include "core/error.hpp"
#include "foretoken_places.hpp"
#include "sim/cost/compute_cost.hpp"
#include "sim/cost/network_cost.hpp"
#include "tests/measure/invented_gpu.hpp"

namespace foretoken::calibrate {
namespace {

namespace fs = std::filesystem;
using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): the probes' names
using test::InventedGpu;
using test::InventedPhysics;
using test::ThreadsBootstrap;
using testing::HasSubstr;

MeasureDeviceOptions options_on(const InventedGpu& gpu, double budget = 300) {
  MeasureDeviceOptions options;
  options.budget = Seconds(budget);
  options.date = "2026-01-31";
  options.version = "test";
  options.now = [&gpu] { return gpu.clock(); };
  return options;
}

Calibration base() { return read_calibration(FORETOKEN_SOURCE_DIR "/topologies/calibrations/h100-sxm.json"); }

DeviceMeasurement measured(InventedGpu& gpu, const std::vector<Probe>& probes, const MeasureDeviceOptions& options) {
  AloneBootstrap alone;
  return measure_device(gpu, alone, probes, options);
}

TEST(DeviceProbes, HaveNamesOfTheirOwnAndASeededOrder) {
  const InventedPhysics physics = InventedPhysics::of_h100();
  std::vector<Probe> probes = gpu_probes(physics.device);
  for (const MessageProbe& probe : message_probes(LaunchLayout::of({"a", "a", "a", "a", "b", "b", "b", "b"}), true))
    probes.emplace_back(probe);
  std::set<std::string> names;
  for (const Probe& probe : probes) names.insert(name_of(probe));
  EXPECT_EQ(names.size(), probes.size());
  const auto in_order = [&](std::int64_t seed) {
    std::vector<Probe> shuffled = probes;
    shuffle_probes(shuffled, seed);
    std::vector<std::string> order;
    for (const Probe& probe : shuffled) order.push_back(name_of(probe));
    return order;
  };
  EXPECT_EQ(in_order(3), in_order(3));
  EXPECT_NE(in_order(3), in_order(4));
  EXPECT_THAT(in_order(3), testing::UnorderedElementsAreArray(names));
}

TEST(DeviceProbes, GroupsAreTheFirstRanksOfTheFirstNodes) {
  const LaunchLayout layout = LaunchLayout::of({"a", "b", "a", "b"});
  MessageProbe probe;
  probe.ranks = 2;
  EXPECT_THAT(layout.members(probe), testing::ElementsAre(RankId(0), RankId(2)));
  probe.nodes = 2;
  EXPECT_THAT(layout.members(probe), testing::ElementsAre(RankId(0), RankId(1)));
  probe.ranks = 4;
  EXPECT_EQ(layout.members(probe).size(), 4U);
  EXPECT_EQ(layout.ranks_per_node(), 2);
}

// One GPU alone has no messages; two on a node no trees.
TEST(DeviceProbes, MessagesFitTheLaunch) {
  EXPECT_THAT(message_probes(LaunchLayout::of({"a"}), true), testing::IsEmpty());
  for (const MessageProbe& probe : message_probes(LaunchLayout::of({"a", "a"}), true)) {
    EXPECT_EQ(probe.ranks, 2);
    EXPECT_THAT(probe.algorithm, testing::AnyOf("ring", ""));
  }
}

TEST(MeasureDevice, FindsTheInventedGpu) {
  const InventedPhysics physics = InventedPhysics::of_h100();
  InventedGpu gpu(physics, 0, 1);
  std::vector<Probe> probes = gpu_probes(physics.device);
  shuffle_probes(probes, 1);
  const DeviceMeasurement found = measured(gpu, probes, options_on(gpu));
  EXPECT_EQ(found.probes.size(), probes.size());
  const DeviceFit fit = fit_gpu(found, physics.device, base(), {});
  const Calibration& c = fit.calibration;

  // Shapes between those that were measured; the truth is the machine's own formula, and its noise is 0.3 %.
  const sim::ComputeCost cost(c.compute, physics.device);
  EXPECT_EQ(c.compute.default_framework, "foretoken");
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{3, 3000, 3000}, {100, 6000, 1500}, {3000, 5000, 7000}})
    for (const DType dtype : {DType::bf16, DType::fp16}) {
      const Seconds truth = physics.time(GemmProbe{dtype, m, n, k});
      EXPECT_NEAR(ratio(cost.gemm(dtype, m, n, k).time, truth), 1, 0.04) << m << " x " << n << " x " << k;
    }
  EXPECT_NEAR(c.compute.memory.floor.value(), 2e-6, 0.02e-6);
  EXPECT_NEAR(c.compute.memory.bandwidth.value(), 2.5e12, 0.03e12);
  EXPECT_NEAR(c.launch.graph.launch.value(), 6e-6, 0.06e-6);
  EXPECT_NEAR(c.launch.eager.launch.value(), 4e-6, 0.04e-6);
  EXPECT_NEAR(c.launch.eager.gap.value(), 1.5e-6, 0.2e-6);
  EXPECT_EQ(c.launch.provenance, Provenance::measured);
  for (const KernelFit& kernel : c.compute.gemm) {
    if (kernel.framework != "foretoken") continue;
    EXPECT_LT(kernel.held_out.median, 0.02);
  }

  // It can be read again, names its machine, and what nothing names any more is gone.
  const std::string text = calibration_text(c);
  EXPECT_EQ(calibration_text(read_calibration(JsonDocument::from_text(text, "fitted.json"))), text);
  const CalibrationSource& source = c.sources.front();
  EXPECT_EQ(source.id, "this-gpu");
  EXPECT_THAT(source.citation, testing::AllOf(HasSubstr("1 x NVIDIA H100 80GB HBM3"), HasSubstr("cuBLASLt 13.0.0"),
                                              HasSubstr("CUDA 13.0"), HasSubstr("2026-01-31")));
  EXPECT_THAT(source.note, HasSubstr("SM clock 1755 to 1980 MHz"));
  EXPECT_THAT(fit.residuals, HasSubstr("GEMM bf16, held-out"));
}

// Eight ranks on two computers, as threads: all see the same, and rank 0's numbers give the network back.
std::vector<DeviceMeasurement> launched(const InventedPhysics& physics, std::int64_t ranks,
                                        const std::vector<Probe>& probes) {
  ThreadsBootstrap::Shared shared(ranks);
  std::vector<DeviceMeasurement> all(static_cast<std::size_t>(ranks));
  std::vector<std::jthread> threads;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      ThreadsBootstrap bootstrap(shared, r);
      InventedGpu gpu(physics, r, ranks);
      all[static_cast<std::size_t>(r)] = measure_device(gpu, bootstrap, probes, options_on(gpu));
    });
  threads.clear();
  return all;
}

TEST(MeasureDevice, FindsTheInventedNetwork) {
  const InventedPhysics physics = InventedPhysics::of_h100();
  const LaunchLayout layout = LaunchLayout::of({"a", "a", "a", "a", "b", "b", "b", "b"});
  std::vector<Probe> probes;
  for (const MessageProbe& probe : message_probes(layout, true))
    if (probe.bytes.value() % 3 != 1 || probe.beside_gemm) probes.emplace_back(probe);  // every other power of two
  shuffle_probes(probes, 1);
  const std::vector<DeviceMeasurement> all = launched(physics, 8, probes);
  for (const DeviceMeasurement& one : all) {
    ASSERT_EQ(one.times.size(), probes.size());
    for (std::size_t i = 0; i < probes.size(); ++i) EXPECT_EQ(one.times[i].picoseconds, all[0].times[i].picoseconds);
  }
  const Calibration known = base();
  const DeviceFit fit = fit_launch(all.front(), known);
  const NetworkCalibration& network = fit.calibration.network;
  const sim::NetworkCost found(network), truth(physics.network);
  using Algorithm = CollectiveAlgorithm;
  const auto compare = [&](CollectiveOp op, Algorithm algorithm, int ranks, int nodes, std::int64_t bytes) {
    const double off = ratio(found.collective(op, algorithm, ranks, nodes, Bytes(bytes)).total(),
                             truth.collective(op, algorithm, ranks, nodes, Bytes(bytes)).total());
    EXPECT_NEAR(off, 1, 0.05) << name_of(op) << ", " << name_of(algorithm) << ", " << ranks << " ranks on " << nodes
                              << " nodes, " << bytes << " bytes";
  };
  for (const std::int64_t bytes : {3'000, 300'000, 30'000'000, 300'000'000}) {
    compare(CollectiveOp::all_reduce, Algorithm::ring, 4, 1, bytes);
    compare(CollectiveOp::all_gather, Algorithm::ring, 2, 1, bytes);
    compare(CollectiveOp::all_reduce, Algorithm::ring, 8, 2, bytes);
    compare(CollectiveOp::all_reduce, Algorithm::nvls, 4, 1, bytes);
    compare(CollectiveOp::all_reduce, Algorithm::tree, 8, 2, bytes);
    compare(CollectiveOp::all_reduce, Algorithm::nvls_tree, 8, 2, bytes);
  }
  EXPECT_NEAR(network.message_in_node.latency.value(), 8e-6, 0.1e-6);
  EXPECT_NEAR(network.message_across_nodes.rate.value(), 44e9, 0.5e9);
  EXPECT_NEAR(network.combine.latency_one_node.value(), 12e-6, 0.3e-6);
  EXPECT_NEAR(network.combine.rate_in_node.value(), 280e9, 5e9);
  EXPECT_EQ(network.combine.queue_latency.value(), 0);
  EXPECT_EQ(network.ring.source, "this-launch");
  EXPECT_EQ(network.direct.source, known.network.direct.source);  // NCCL has none
  EXPECT_THAT(fit.residuals, HasSubstr("+20 %"));                 // beside products of matrices
  const std::string text = calibration_text(fit.calibration);
  EXPECT_EQ(calibration_text(read_calibration(JsonDocument::from_text(text, "fitted.json"))), text);
}

class MeasureDeviceJournal : public testing::Test {
 protected:
  void SetUp() override {
    file_ = fs::temp_directory_path() / ("foretoken_gpu_journal_" + std::to_string(getpid()) +
                                         testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove(file_);
  }
  void TearDown() override { fs::remove(file_); }
  fs::path file_;
};

std::vector<Probe> some_probes() {
  std::vector<Probe> probes;
  for (std::int64_t m = 1; m <= 64; m *= 2) probes.emplace_back(GemmProbe{DType::bf16, m, 512, 512});
  probes.emplace_back(AttentionProbe{DType::bf16, 256, 65536, 32, 8, 128});
  return probes;
}

TEST_F(MeasureDeviceJournal, GoesOnWhereItWasInterrupted) {
  const std::vector<Probe> probes = some_probes();
  InventedGpu first(InventedPhysics::of_h100(), 0, 1);
  MeasureDeviceOptions options = options_on(first);
  options.journal = file_;
  options.interrupted = [&] { return first.prepared == 3; };
  const DeviceMeasurement part = measured(first, probes, options);
  EXPECT_FALSE(part.whole);
  EXPECT_EQ(part.probes.size(), 3U);

  InventedGpu second(InventedPhysics::of_h100(), 0, 1);
  options = options_on(second);
  options.journal = file_;
  options.date = "2026-02-01";
  std::size_t resumed = 0;
  options.resumes = [&](std::size_t known, std::size_t /*all*/) { resumed = known; };
  const DeviceMeasurement whole = measured(second, probes, options);
  EXPECT_TRUE(whole.whole);
  EXPECT_EQ(resumed, 3U);
  EXPECT_EQ(second.prepared, 5);
  EXPECT_EQ(whole.date, "2026-01-31");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(whole.times[i].picoseconds, part.times[i].picoseconds);

  // All are known now: nothing is measured, and the same comes out.
  InventedGpu third(InventedPhysics::of_h100(), 0, 1);
  options = options_on(third);
  options.journal = file_;
  EXPECT_EQ(device_samples_csv(measured(third, probes, options)), device_samples_csv(whole));
  EXPECT_EQ(third.prepared, 0);
}

TEST_F(MeasureDeviceJournal, RefusesAnotherMachineAndDamage) {
  const std::vector<Probe> probes = some_probes();
  const auto said = [&](std::int64_t rank, std::int64_t seed) -> std::string {
    InventedGpu gpu(InventedPhysics::of_h100(), rank, 1);
    MeasureDeviceOptions options = options_on(gpu);
    options.journal = file_;
    options.seed = seed;
    try {
      measured(gpu, probes, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(said(0, 1), "");
  EXPECT_THAT(said(1, 1), testing::AllOf(HasSubstr("/gpus"), HasSubstr("GPU-0"), HasSubstr("GPU-1")));
  EXPECT_THAT(said(0, 2), HasSubstr("/seed"));
  std::ofstream(file_, std::ios::app) << "{\"part\": 3}\n";
  EXPECT_THAT(said(0, 1), testing::AllOf(HasSubstr(":10"), HasSubstr("is damaged")));
  std::ofstream(file_, std::ios::trunc) << "something else\n";
  EXPECT_THAT(said(0, 1), HasSubstr("no journal"));
}

TEST(MeasureDevice, LeavesOutWhatDoesNotFit) {
  InventedGpu gpu(InventedPhysics::of_h100(), 0, 1);
  gpu.memory_max = 1 << 30;
  const DeviceMeasurement found = measured(gpu, some_probes(), options_on(gpu));
  ASSERT_EQ(found.left_out.size(), 1U);
  EXPECT_THAT(found.left_out[0].probe, HasSubstr("attention_decode"));
  EXPECT_THAT(found.left_out[0].left_out, HasSubstr("does not fit"));
}

// Without noise eight batches are enough, and of what is noisy as many as the time allows; but never fewer than three.
TEST(MeasureDevice, RepeatsUntilItIsKnownOrTimeIsOver) {
  InventedPhysics quiet = InventedPhysics::of_h100();
  quiet.noise = 0;
  InventedGpu gpu(quiet, 0, 1);
  for (const ProbeTimes& times : measured(gpu, some_probes(), options_on(gpu)).times)
    EXPECT_EQ(times.picoseconds.size(), 8U);
  InventedPhysics noisy = quiet;
  noisy.noise = 0.2;
  InventedGpu slow(noisy, 0, 1);
  for (const ProbeTimes& times : measured(slow, some_probes(), options_on(slow)).times)
    EXPECT_GT(times.picoseconds.size(), 8U);
  InventedGpu hurried(noisy, 0, 1);
  for (const ProbeTimes& times : measured(hurried, some_probes(), options_on(hurried, 1e-6)).times)
    EXPECT_EQ(times.picoseconds.size(), 3U);
}

}  // namespace
}  // namespace foretoken::calibrate
