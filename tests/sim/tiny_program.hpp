// Hand-built programs on an invented machine with round numbers, so that expected times can be worked out by hand.
//
// Every link and every kernel moves 1 GB/s, so 1,000 bytes take 1 us. Latencies: a ring step 1 us, a direct peer 1 us,
// a message 1 us in a node and 2 us across, dispatch and combine 5 us in a node and 10 us across. Hops take no time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/calibration_network.hpp"
#include "core/trace.hpp"
#include "plan/faults.hpp"
#include "plan/machine/machine.hpp"
#include "plan/program/program.hpp"
#include "plan/program/resolve.hpp"
#include "sim/communication/fault_timeline.hpp"
#include "sim/communication/transport.hpp"
#include "sim/engine/kernel_sharing.hpp"
#include "sim/engine/launches.hpp"

namespace foretoken::test {

inline constexpr double kPicosecond = 1e-6;  // in microseconds

/// `nodes` nodes of `gpus` GPUs; every NVLink and NIC 1 GB/s per direction, PCIe 10 GB/s.
plan::Machine round_machine(std::int64_t nodes, std::int64_t gpus);
NetworkCalibration round_network();

/// What an op waits for, and on which stream it stands.
struct Place {
  std::vector<plan::Dependency> after;
  plan::Stream stream = plan::kCompute;
};

class TinyProgram {
 public:
  explicit TinyProgram(std::int64_t ranks);

  std::size_t role(std::vector<std::int32_t> ranks);
  GroupId group(std::int64_t size, std::int64_t stride = 1);
  CommunicationId communication(plan::OpKind kind, GroupId group = {},
                                CollectiveAlgorithm algorithm = CollectiveAlgorithm::ring);

  /// A kernel of `us` microseconds. Names decide durations: one name, one duration.
  OpId compute(std::size_t role, const std::string& name, double us, Place place = {});
  /// A kernel in a block of an arrival set.
  OpId block(std::size_t role, const std::string& name, double us, std::int16_t chunk, Place place = {});
  OpId step_end(std::size_t role, Place place = {});
  OpId collective(std::size_t role, const std::string& name, CommunicationId communication, std::int64_t bytes,
                  Place place = {});
  OpId send(std::size_t role, const std::string& name, CommunicationId communication, std::int64_t peer_offset,
            std::int64_t bytes, Place place = {});
  OpId recv(std::size_t role, const std::string& name, CommunicationId communication, std::int64_t peer_offset,
            std::int64_t bytes, Place place = {});
  /// Rows of 1,000 bytes each.
  OpId exchange(std::size_t role, const std::string& name, CommunicationId communication, Place place = {});

  /// Bytes that a kernel reads and writes; none unless said.
  void traffic(const std::string& name, std::int64_t bytes) { traffic_[name] = Bytes(bytes); }

  /// Who sends how many rows to whom in dispatches and combines.
  std::vector<plan::PairRows> pairs;
  /// As sim::EngineInput::link_samples.
  std::size_t link_samples = 0;
  /// As sim::EngineInput::every_step.
  bool every_step = false;
  /// How often runs have asked how long a compute op takes.
  mutable std::int64_t durations_asked = 0;

  [[nodiscard]] Trace run(const plan::Machine& machine, std::int64_t warmup_steps, std::int64_t steps) const;
  /// One step, with faults in order of time.
  [[nodiscard]] Trace run(const plan::Machine& machine, std::vector<plan::Fault> faults) const;
  /// @param crowding of every compute op, see sim::Estimate
  [[nodiscard]] Trace run(const sim::Transport& transport, std::int64_t warmup_steps, std::int64_t steps,
                          double crowding) const;
  /// With kernels that share GPUs of `memory` bytes per second. @param interference  null: they share nothing
  [[nodiscard]] Trace run_shared(const plan::Machine& machine, std::int64_t steps, BytesPerSecond memory,
                                 const sim::KernelInterference* interference) const;
  [[nodiscard]] Trace run_launched(const plan::Machine& machine, std::int64_t warmup_steps, std::int64_t steps,
                                   const sim::LaunchModel& launches) const;
  [[nodiscard]] const plan::Program& program() const { return program_; }

 private:
  OpId add(std::size_t role, const std::string& name, plan::OpKind kind, plan::OpDetail detail, Place place);

  [[nodiscard]] Trace run(const sim::Transport& transport, std::int64_t warmup_steps, std::int64_t steps,
                          double crowding, const sim::KernelInterference* interference,
                          const std::optional<sim::LaunchModel>& launches, sim::FaultTimeline* faults) const;

  plan::Program program_;
  std::map<std::string, double> durations_us_;  // by op name
  std::map<std::string, Bytes> traffic_;        // by op name
};

/// Times of one execution, in microseconds.
struct Times {
  double posted = 0;
  double begun = 0;
  double ended = 0;
};
Times times_of(const Trace& trace, std::int32_t rank, const std::string& op, std::int32_t step = 0);

}  // namespace foretoken::test
