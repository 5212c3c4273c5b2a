// A GPU whose physics the test makes up, behind the interface of the real one, with a clock of its own.
#pragma once

#include <barrier>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/calibration_network.hpp"
#include "core/device_spec.hpp"
#include "runtime/cuda/probe_device.hpp"
#include "sim/cost/roofline.hpp"

namespace foretoken::test {

/// What the machine does, and the fit should find.
struct InventedPhysics {
  DeviceSpec device;
  L2Fit l2{"", Bytes(0), Bytes(0), BytesPerSecond(5.5e12)};  ///< sizes are those of fit_l2
  Seconds floor{2e-6};                                       ///< of a kernel
  double gemm_slowdown = 1.25;                               ///< over floor and roofline
  double attention_slowdown = 1.1;
  BytesPerSecond memory{2.5e12};  ///< element-wise kernels
  Seconds graph_launch{6e-6};
  Seconds eager_launch{4e-6};
  Seconds eager_gap{1.5e-6};
  NetworkCalibration network;
  double beside_gemm = 1.2;
  std::int64_t ranks_per_node = 8;  ///< of pair probes
  /// Of pair probes: how much longer their messages take; empty: not.
  std::function<double(RankId from, RankId to)> message_slowdown;
  double noise = 0.003;

  /// An H100's datasheet.
  static InventedPhysics of_h100();
  [[nodiscard]] Seconds time(const runtime::cuda::Probe& probe) const;
};

class InventedGpu final : public runtime::cuda::ProbeDevice {
 public:
  InventedGpu(InventedPhysics physics, std::int64_t rank, std::int64_t ranks);

  [[nodiscard]] const runtime::cuda::ProbedMachine& machine() const override { return machine_; }
  void connect(const std::string& algorithm, const std::vector<runtime::cuda::MessageProbe>& probes) override;
  void connect_all() override {
    ++heard;
    connected.emplace_back("all");
  }
  void prepare(const runtime::cuda::Probe& probe) override;
  Seconds run(std::int64_t repetitions) override;
  void wait() override { ++heard; }
  runtime::cuda::GpuConditions conditions() override;

  /// Time that all of it has taken.
  [[nodiscard]] Seconds clock() const { return clock_; }
  std::int64_t memory_max = std::int64_t{1} << 40;  ///< of KV caches
  std::int64_t prepared = 0;
  std::int64_t runs = 0;
  std::int64_t heard = 0;  ///< calls that tell a real one's watchdog that this rank is alive
  std::vector<std::string> connected;

 private:
  InventedPhysics physics_;
  runtime::cuda::ProbedMachine machine_;
  runtime::cuda::Probe probe_;
  std::uint64_t state_;
  Seconds clock_{};
};

/// Ranks that are threads of one process. Every thread has one of its own.
class ThreadsBootstrap final : public runtime::cuda::Bootstrap {
 public:
  struct Shared {
    explicit Shared(std::int64_t ranks) : told(static_cast<std::size_t>(ranks)), gate(ranks) {}
    std::vector<Bytes> told;
    std::barrier<> gate;
  };
  ThreadsBootstrap(Shared& shared, std::int64_t rank) : shared_(shared), rank_(rank) {}
  [[nodiscard]] std::int64_t rank() const override { return rank_; }
  [[nodiscard]] std::int64_t ranks() const override { return static_cast<std::int64_t>(shared_.told.size()); }
  [[nodiscard]] std::int64_t rank_on_node() const override { return rank_; }
  std::vector<Bytes> all_gather(const Bytes& own) override {
    shared_.told[static_cast<std::size_t>(rank_)] = own;
    shared_.gate.arrive_and_wait();
    std::vector<Bytes> all = shared_.told;
    shared_.gate.arrive_and_wait();
    return all;
  }
  std::vector<Bytes> gather(const Bytes& own) override {
    std::vector<Bytes> all = all_gather(own);
    return rank_ == 0 ? all : std::vector<Bytes>{};
  }

 private:
  Shared& shared_;
  std::int64_t rank_;
};

}  // namespace foretoken::test
