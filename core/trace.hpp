// What happened, op by op: one format for simulated and live runs.
//
// Columns of equal length; event i is one execution of one op by one rank in one step. Times are picoseconds since the
// start of the run. `posted` <= `begun` <= `ended`: an op is posted when its stream reaches it with its dependencies
// met; it begins when its peers are there too (compute ops begin at once).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/provenance.hpp"
#include "core/units.hpp"

namespace foretoken {

/// An op of a role, as far as reports need it.
struct TraceOp {
  std::string name;    // "l0.m1.qkv"
  std::string kind;    // "gemm"
  std::string stream;  // "compute"
  bool communication = false;
  std::int32_t layer = -1;
  std::int32_t micro_batch = -1;
};

/// The tokens of one group of sequences came out.
struct TokenOutput {
  std::int64_t step = 0;
  std::int64_t batch = 0;      // which group of sequences: (replica, micro-batch), the same in every step
  std::int64_t sequences = 0;  // tokens that came out: one per sequence
  SimTime time;
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

  std::vector<TokenOutput> outputs;
  /// What the times rest on for want of measurements, beside the ops whose provenance says so.
  std::vector<std::string> assumed;

  [[nodiscard]] std::size_t size() const { return rank.size(); }
  [[nodiscard]] const TraceOp& op_of(std::size_t event) const {
    const auto role = static_cast<std::size_t>(role_of_rank[static_cast<std::size_t>(rank[event])]);
    return roles[role][static_cast<std::size_t>(op[event])];
  }
};

}  // namespace foretoken
