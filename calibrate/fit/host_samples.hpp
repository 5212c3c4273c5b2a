// What was measured of one computer's CPUs: times of ops, with what each op is made of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/calibration_host.hpp"
#include "core/host_terms.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

/// One op of a probe in one routed step, repeated; or one communication of a probe, over its ranks and steps.
struct HostSample {
  std::string probe;
  std::string communicator;  ///< "threads", "mpi"; empty: a compute op
  HostLoad load = HostLoad::alone;
  std::string kind;   ///< of the op: "gemm"
  std::string op;     ///< its name in the program
  std::string shape;  ///< for the reader: "m=8 n=512 k=128"
  std::int64_t routed_step = 0;
  Bytes reuse_distance;
  HostTerms amounts;
  Seconds
      cpu{};  ///< what is fitted: the median of a compute op in its least disturbed round; the mean of a communication
  Seconds cpu_q10{};
  Seconds cpu_q90{};
  Seconds wall{};            ///< median
  std::int64_t count = 0;    ///< repetitions
  Seconds wait_per_round{};  ///< communication: wall time beyond CPU time since both ends were there, per round
};

/// One line per sample, one column per member; amounts only where they are not zero ("rows4 512 weights 64").
std::string samples_csv(std::span<const HostSample> samples);

/// Reads what samples_csv wrote. @param name  of the file, for messages
/// @throws Error{invalid_input} naming file and line
std::vector<HostSample> parse_samples(std::string_view text, const std::string& name);

}  // namespace foretoken::calibrate
