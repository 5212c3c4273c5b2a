// What happened, op by op: one format for simulated and live runs.
//
// Columns of equal length; event i is one execution of one op by one rank in one step. Times are picoseconds since the
// start of the run. `posted` <= `begun` <= `ended`: an op is posted when its stream reaches it with its dependencies
// met; it begins when its peers are there too (compute ops begin at once).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken {

/// An op that another one waits for: the same rank's, of this step or of an earlier one.
struct TraceDependency {
  std::int32_t op = 0;
  std::int32_t distance = 0;  // steps back

  auto operator<=>(const TraceDependency&) const = default;
};

/// With whom a communication op meets: with the ops of one `communication` on the ranks of its group's instance, those
/// that differ from its own by multiples of `stride`; or, for a send or a recv, on rank + peer_offset.
struct TraceMeeting {
  std::int32_t communication = 0;
  std::int64_t size = 1;  // of the group; 1: a transfer
  std::int64_t stride = 1;
  std::int64_t peer_offset = 0;  // transfers: never 0

  auto operator<=>(const TraceMeeting&) const = default;
};

/// An op of a role, as far as reports need it.
struct TraceOp {
  std::string name;    // "l0.m1.qkv"
  std::string kind;    // "gemm"
  std::string stream;  // "compute"
  bool communication = false;
  std::int32_t layer = -1;
  std::int32_t micro_batch = -1;
  // Who waits for whom, beside the order of the stream.
  std::vector<TraceDependency> after{};
  std::optional<TraceMeeting> meets{};  // communication
  std::int32_t arrival_set = -1;        // ops of one set run on their stream in blocks, one per chunk, as they arrive
  std::int32_t chunk = -1;
};

/// The tokens of one group of sequences came out.
struct TokenOutput {
  std::int64_t step = 0;
  std::int64_t batch = 0;      // which group of sequences: (replica, micro-batch), the same in every step
  std::int64_t sequences = 0;  // tokens that came out: one per sequence
  SimTime time;
};

/// What links carried, at instants of the run.
struct TraceLinks {
  struct Link {
    std::string name;        // "node0.gpu1 > node0.nvswitch"
    std::string link_class;  // "nvlink", "nic", "pcie", "trunk"
    BytesPerSecond capacity;
  };
  std::vector<Link> links;
  std::vector<SimTime> sampled;  // ascending; has the first and the last instant of the counted steps
  std::vector<double> carried;   // [sample x links + link] bytes since the start of the run

  [[nodiscard]] double bytes(std::size_t sample, std::size_t link) const {
    return carried[sample * links.size() + link];
  }
};

struct Trace {
  std::string clock;  // "simulated", "wall"
  std::int64_t ranks = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t steps = 0;                   // counted steps, after the warm-up
  std::vector<std::vector<TraceOp>> roles;  // [role][op]
  std::vector<std::int32_t> role_of_rank;

  std::vector<std::int32_t> rank;
  std::vector<std::int32_t> op;  // index into roles[role_of_rank[rank]]
  std::vector<std::int32_t> step;
  std::vector<SimTime> posted;
  std::vector<SimTime> begun;
  std::vector<SimTime> ended;
  std::vector<Provenance> provenance;
  std::vector<SimTime> cpu;  // CPU time of the rank's thread, waits left out; empty where ranks are no threads
  // Of a dispatch or combine: the rank whose message ended last, -1 if there was none; empty where nobody knows.
  std::vector<std::int32_t> last_peer;

  std::vector<TokenOutput> outputs;
  /// What the times rest on for want of measurements, beside the ops whose provenance says so.
  std::vector<std::string> assumed;
  std::optional<TraceLinks> links;  // if they were asked for
  double accuracy = 0;              // that links were shared to (SimulateOptions::accuracy); 0: exactly
  double sharing_error = 0;         // the largest that it made, as found afterwards, relative

  [[nodiscard]] std::size_t size() const { return rank.size(); }
  [[nodiscard]] const TraceOp& op_of(std::size_t event) const {
    const auto role = static_cast<std::size_t>(role_of_rank[static_cast<std::size_t>(rank[event])]);
    return roles[role][static_cast<std::size_t>(op[event])];
  }
};

}  // namespace foretoken
