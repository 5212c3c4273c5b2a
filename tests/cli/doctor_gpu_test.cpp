// foretoken doctor --live --backend cuda on GPUs and links that are made up: what is slow by design is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "foretoken_places.hpp"
#include "runtime/cuda/gpu_health.hpp"
#include "runtime/cuda/nearest_nic.hpp"
#include "tests/measure/invented_gpu.hpp"
#include "tests/plan/json_schema.hpp"
#include "tests/scratch_folder.hpp"
#include "tools/cli/cli.hpp"
#include "tools/cli/doctor_live_command.hpp"
#include "tools/cli/interrupted.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {
namespace {

namespace fs = std::filesystem;
using runtime::HealthReadings;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;

struct GpuCluster {
  std::int64_t nodes = 3;
  std::int64_t gpus_per_node = 4;
  std::function<void(std::int64_t rank, test::InventedPhysics& physics)> plant{};
  std::function<double(RankId from, RankId to)> message_slowdown{};
  std::function<bool(std::int64_t asked)> interrupted{};  // of rank 1, the so manieth time
};

// All ranks as threads; rank 0's readings.
HealthReadings measured(const GpuCluster& cluster) {
  const std::int64_t ranks = cluster.nodes * cluster.gpus_per_node;
  test::ThreadsBootstrap::Shared shared(ranks);
  std::optional<HealthReadings> readings;
  std::vector<std::jthread> threads;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      test::InventedPhysics physics = test::InventedPhysics::of_h100();
      physics.ranks_per_node = cluster.gpus_per_node;
      physics.message_slowdown = cluster.message_slowdown;
      if (cluster.plant) cluster.plant(r, physics);
      test::InventedGpu gpu(physics, r, ranks);
      test::ThreadsBootstrap bootstrap(shared, r);
      runtime::cuda::GpuHealthOptions options;
      std::int64_t asked = 0;
      if (cluster.interrupted) options.interrupted = [&] { return r == 1 && cluster.interrupted(asked++); };
      auto own = runtime::cuda::probe_gpu_health(gpu, bootstrap, "node" + std::to_string(r / cluster.gpus_per_node),
                                                 "mlx5_" + std::to_string(r % cluster.gpus_per_node), options);
      if (r == 0) readings = std::move(own);
      else EXPECT_FALSE(own);
    });
  threads.clear();
  return std::move(readings).value();
}

struct Reported {
  Json json;
  std::string text;
  std::optional<ErrorCode> code;
  std::string error;
};

Reported reported(const HealthReadings& readings, DoctorLiveOptions options = {}) {
  options.live = true;
  options.backend = "cuda";
  Reported result;
  const auto ranks = static_cast<std::int64_t>(readings.node_of_rank.size());
  for (const bool json : {false, true}) {
    std::ostringstream out;
    try {
      report_live(options, json, ranks, readings, out);
    } catch (const Error& error) {
      result.code = error.code();
      result.error = error.what();
    }
    if (json) result.json = out.str().empty() ? Json() : Json::parse(out.str());
    else result.text = out.str();
  }
  if (result.json.is_object()) {
    EXPECT_THAT(plan::test::JsonSchema(Json::parse(schema_text("live-diagnosis").value())).check(result.json),
                IsEmpty());
  }
  return result;
}

std::vector<std::string> findings_in(const Reported& reported) {
  std::vector<std::string> all;
  for (const Json& finding : reported.json.at("findings")) all.push_back(finding.at("what").get<std::string>());
  return all;
}

TEST(DoctorGpus, NothingLooksWrongWhereAllAreAlike) {
  const HealthReadings readings = measured({});
  // Pairs within nodes: 3 x 6; between nodes 4 places x 3 pairs of nodes.
  EXPECT_EQ(readings.within_nodes.size(), 18U);
  EXPECT_EQ(readings.between_nodes.size(), 12U);
  const Reported all = reported(readings);
  EXPECT_EQ(all.code, std::nullopt) << all.error;
  EXPECT_EQ(all.json.at("communicator"), "nccl");
  EXPECT_EQ(all.json.at("gpus").size(), 12U);
  EXPECT_EQ(all.json.at("gpus")[5].at("index"), 1);
  EXPECT_EQ(all.json.at("gpus")[5].at("nic"), "mlx5_1");
  EXPECT_THAT(all.text,
              AllOf(HasSubstr("12 x NVIDIA H100 80GB HBM3"), HasSubstr("by nccl"), HasSubstr("Nothing looks wrong.")));
}

// Counts a rank's waits for others before which nothing has told its watchdog that it is alive.
class ListeningBootstrap final : public runtime::cuda::Bootstrap {
 public:
  ListeningBootstrap(test::ThreadsBootstrap& threads, const test::InventedGpu& gpu) : threads_(threads), gpu_(gpu) {}
  [[nodiscard]] std::int64_t rank() const override { return threads_.rank(); }
  [[nodiscard]] std::int64_t ranks() const override { return threads_.ranks(); }
  [[nodiscard]] std::int64_t rank_on_node() const override { return threads_.rank_on_node(); }
  std::vector<Bytes> all_gather(const Bytes& own) override {
    silent += gpu_.heard == heard_ ? 1 : 0;
    heard_ = gpu_.heard;
    return threads_.all_gather(own);
  }
  std::vector<Bytes> gather(const Bytes& own) override { return threads_.gather(own); }
  std::int64_t silent = 0;

 private:
  test::ThreadsBootstrap& threads_;
  const test::InventedGpu& gpu_;
  std::int64_t heard_ = 0;
};

// Three GPUs of a node: one sits out of each pair's turn. As long as the others measured, their watchdogs were fed, and
// its own was not: it ended the rank.
TEST(DoctorGpus, RanksThatSitTurnsOutAreAlive) {
  constexpr std::int64_t ranks = 3;
  test::ThreadsBootstrap::Shared shared(ranks);
  std::vector<std::jthread> threads;
  for (std::int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      test::InventedGpu gpu(test::InventedPhysics::of_h100(), r, ranks);
      test::ThreadsBootstrap bootstrap(shared, r);
      ListeningBootstrap listening(bootstrap, gpu);
      static_cast<void>(runtime::cuda::probe_gpu_health(gpu, listening, "node0", "", {}));
      EXPECT_EQ(listening.silent, 0) << "rank " << r;
    });
}

// By the invented physics: 64 MiB at 330 GB/s within a node, at 44 GB/s between them, 8 and 16 us in front.
TEST(DoctorGpus, MeasuresWhatTheLinksDo) {
  const HealthReadings readings = measured({.nodes = 2, .gpus_per_node = 2});
  ASSERT_EQ(readings.within_nodes.size(), 2U);
  ASSERT_EQ(readings.between_nodes.size(), 2U);
  const double bytes = 64 << 20;
  for (const auto& [link, latency, rate] :
       {std::tuple(readings.within_nodes[0], 8e-6, 330e9), std::tuple(readings.between_nodes[1], 16e-6, 44e9)}) {
    EXPECT_NEAR(link.latency.value(), latency, 0.02 * latency);
    for (const BytesPerSecond reached : link.bandwidth)
      EXPECT_NEAR(reached.value(), bytes / (latency + bytes / rate), 0.02 * rate);
  }
}

TEST(DoctorGpus, NamesASlowGpu) {
  GpuCluster cluster;
  cluster.plant = [](std::int64_t rank, test::InventedPhysics& physics) {
    if (rank == 6) physics.gemm_slowdown *= 2;
  };
  const Reported all = reported(measured(cluster));
  EXPECT_EQ(all.code, ErrorCode::unhealthy);
  EXPECT_THAT(findings_in(all), testing::ElementsAre(AllOf(HasSubstr("rank 6 on node 1, GPU 2 (0000:16:00.0)"),
                                                           HasSubstr("product (GEMM) is slow"))));
  EXPECT_THAT(all.json.at("findings")[0].at("evidence").get<std::string>(), HasSubstr("1755 to 1980 MHz"));
  EXPECT_THAT(all.json.at("findings")[0].at("likely").get<std::string>(), HasSubstr("nvidia-smi"));
}

TEST(DoctorGpus, NamesAGpuWhoseMemoryIsSlow) {
  GpuCluster cluster;
  cluster.plant = [](std::int64_t rank, test::InventedPhysics& physics) {
    if (rank == 11) physics.memory = BytesPerSecond(1e12);
  };
  EXPECT_THAT(findings_in(reported(measured(cluster))),
              testing::ElementsAre(AllOf(HasSubstr("rank 11 on node 2, GPU 3"), HasSubstr("memory copy is slow"))));
}

// Rank 5's NIC does half of what others do, both ways: with whatever node it is paired.
TEST(DoctorGpus, NamesASlowNic) {
  GpuCluster cluster;
  cluster.message_slowdown = [](RankId from, RankId to) {
    return from.value() / 4 != to.value() / 4 && (from == RankId(5) || to == RankId(5)) ? 2.0 : 1.0;
  };
  const Reported all = reported(measured(cluster));
  EXPECT_EQ(all.code, ErrorCode::unhealthy);
  EXPECT_THAT(findings_in(all),
              testing::ElementsAre(
                  AllOf(HasSubstr("rank 5 on node 1, GPU 1, NIC mlx5_1: its link"), HasSubstr("sends slowly")),
                  AllOf(HasSubstr("rank 5 on node 1, GPU 1, NIC mlx5_1: its link"), HasSubstr("receives slowly"))));
}

TEST(DoctorGpus, NamesANodeWhoseNicsAreAllSlow) {
  GpuCluster cluster;
  cluster.nodes = 4;
  cluster.message_slowdown = [](RankId from, RankId to) {
    return from.value() / 4 != to.value() / 4 && (from.value() / 4 == 2 || to.value() / 4 == 2) ? 2.0 : 1.0;
  };
  EXPECT_THAT(findings_in(reported(measured(cluster))),
              testing::ElementsAre(HasSubstr("node 2: all its links to other nodes are slow, it sends slowly"),
                                   HasSubstr("node 2: all its links to other nodes are slow, it receives slowly")));
}

// Of two nodes either end of a slow way may be to blame; the other GPUs' ways are its peers.
TEST(DoctorGpus, OfTwoNodesNamesBothEndsOfASlowWay) {
  GpuCluster cluster;
  cluster.nodes = 2;
  cluster.message_slowdown = [](RankId from, RankId to) { return from == RankId(2) && to == RankId(6) ? 3.0 : 1.0; };
  EXPECT_THAT(
      findings_in(reported(measured(cluster))),
      testing::ElementsAre(AllOf(HasSubstr("from rank 2 on node 0, GPU 2, NIC mlx5_2"),
                                 HasSubstr("to rank 6 on node 1, GPU 2, NIC mlx5_2"), HasSubstr("way is slow"))));
}

TEST(DoctorGpus, NamesAGpuWhoseNvlinkIsSlow) {
  GpuCluster cluster;
  cluster.message_slowdown = [](RankId from, RankId to) {
    return from.value() / 4 == to.value() / 4 && (from == RankId(8) || to == RankId(8)) ? 4.0 : 1.0;
  };
  const Reported all = reported(measured(cluster));
  ASSERT_FALSE(findings_in(all).empty());
  for (const std::string& finding : findings_in(all)) EXPECT_THAT(finding, HasSubstr("rank 8 on node 2, GPU 0"));
  EXPECT_THAT(all.json.at("findings")[0].at("likely").get<std::string>(), HasSubstr("nvlink"));
}

TEST(DoctorGpus, OneGpuHasNoPeersAndNoLinks) {
  const Reported all = reported(measured({.nodes = 1, .gpus_per_node = 1}));
  EXPECT_EQ(all.code, std::nullopt) << all.error;
  EXPECT_EQ(all.json.at("checks").size(), 2U);
}

// The shipped calibration of an H100 stands for what this one should do; here its messages take three times as long.
TEST(DoctorGpus, HoldsWhatAllHaveAgainstACalibration) {
  DoctorLiveOptions options;
  options.calibration = FORETOKEN_SOURCE_DIR "/topologies/calibrations/h100-sxm.json";
  GpuCluster cluster;
  cluster.message_slowdown = [](RankId from, RankId to) { return from.value() / 4 != to.value() / 4 ? 3.0 : 1.0; };
  const Reported all = reported(measured(cluster), options);
  EXPECT_EQ(all.code, ErrorCode::unhealthy);
  EXPECT_THAT(findings_in(all), testing::Contains(AllOf(HasSubstr("bandwidth between nodes everywhere"),
                                                        HasSubstr("of what the calibration says"))));
  options.calibration = FORETOKEN_SOURCE_DIR "/topologies/calibrations/no-such-file.json";
  EXPECT_EQ(reported(measured({.nodes = 1, .gpus_per_node = 1}), options).code, ErrorCode::invalid_input);
}

// Asked before GPUs, then before every pair.
TEST(DoctorGpus, CtrlCReportsWhatWasMeasured) {
  GpuCluster cluster;
  cluster.interrupted = [](std::int64_t asked) { return asked >= 4; };
  cluster.plant = [](std::int64_t rank, test::InventedPhysics& physics) {
    if (rank == 6) physics.gemm_slowdown *= 2;
  };
  const HealthReadings some = measured(cluster);
  EXPECT_TRUE(some.interrupted);
  EXPECT_EQ(some.cores.size(), 12U);
  EXPECT_FALSE(some.within_nodes.empty());
  EXPECT_LT(some.within_nodes.size(), 18U);
  const Reported all = reported(some);
  EXPECT_EQ(all.code, kInterrupted);
  EXPECT_THAT(all.error, HasSubstr("not everything was measured; 1 finding so far"));
  EXPECT_EQ(all.json.at("interrupted"), true);
  EXPECT_THAT(all.text, HasSubstr("rank 6 on node 1"));

  cluster.interrupted = [](std::int64_t) { return true; };
  const Reported nothing = reported(measured(cluster));
  EXPECT_EQ(nothing.code, kInterrupted);
  EXPECT_EQ(nothing.text, "");
}

TEST(DoctorGpus, IsRefusedWithoutALaunch) {
  std::ostringstream out, err;
  EXPECT_EQ(run({"doctor", "--live", "--backend", "cuda"}, out, err), 2);
  EXPECT_THAT(err.str(), HasSubstr("mpirun"));
  std::ostringstream other;
  EXPECT_EQ(run({"doctor", "--backend", "cuda", "topologies/calibrations/h100-sxm.json"}, out, other), 2);
  EXPECT_THAT(other.str(), HasSubstr("about --live"));
}

// ---- NICs ----------------------------------------------------------------------------------------------------------

// Two switches below one root with a GPU and a NIC each, and one with a GPU and two NICs below another root.
class NearestNic : public testing::Test {
 protected:
  void SetUp() override {
    sys_ = test::scratch_folder();
    fs::create_directories(sys_ / "bus/pci/devices");
    fs::create_directories(sys_ / "class/infiniband");
    add_gpu("pci0000:00/0000:00:01.0/0000:01:00.0/0000:1b:00.0");
    add_nic("pci0000:00/0000:00:01.0/0000:01:00.0/0000:18:00.0", "mlx5_0");
    add_gpu("pci0000:00/0000:00:01.0/0000:02:00.0/0000:2b:00.0");
    add_nic("pci0000:00/0000:00:01.0/0000:02:00.0/0000:28:00.0", "mlx5_1");
    add_gpu("pci0000:80/0000:80:01.0/0000:9b:00.0");
    add_nic("pci0000:80/0000:80:01.0/0000:98:00.0", "mlx5_3");
    add_nic("pci0000:80/0000:80:01.0/0000:99:00.0", "mlx5_2");
  }
  void add_gpu(const fs::path& place) {
    fs::create_directories(sys_ / "devices" / place);
    fs::create_directory_symlink(sys_ / "devices" / place, sys_ / "bus/pci/devices" / place.filename());
  }
  void add_nic(const fs::path& place, const std::string& name) {
    const fs::path folder = sys_ / "devices" / place / "infiniband" / name;
    fs::create_directories(folder);
    fs::create_directory_symlink(sys_ / "devices" / place, folder / "device");
    fs::create_directory_symlink(folder, sys_ / "class/infiniband" / name);
  }
  fs::path sys_;
};

TEST_F(NearestNic, SharesTheLongestWayFromTheRoot) {
  using runtime::cuda::nearest_nics;
  EXPECT_EQ(nearest_nics("0000:1b:00.0", sys_), "mlx5_0");
  EXPECT_EQ(nearest_nics("0000:2b:00.0", sys_), "mlx5_1");
  EXPECT_EQ(nearest_nics("0000:9b:00.0", sys_), "mlx5_2, mlx5_3");
  EXPECT_EQ(nearest_nics("0000:ff:00.0", sys_), "");
  // All NICs are below other host bridges, and /sys/devices is what they share with this one.
  add_gpu("pci0000:c0/0000:c0:01.0/0000:c1:00.0");
  EXPECT_EQ(nearest_nics("0000:c1:00.0", sys_), "");
  // Below its host bridge there are some, none of them on its way: nearer than those below others.
  add_gpu("pci0000:80/0000:80:02.0/0000:a1:00.0");
  EXPECT_EQ(nearest_nics("0000:a1:00.0", sys_), "mlx5_2, mlx5_3");
  fs::remove_all(sys_ / "class");
  EXPECT_EQ(nearest_nics("0000:1b:00.0", sys_), "");
}

}  // namespace
}  // namespace foretoken::cli
