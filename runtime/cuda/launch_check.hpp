// Whether the processes of a launch can run the plan together: the same program, the same plan, a GPU for each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "plan/plan.hpp"

namespace foretoken::runtime::cuda {

/// What a process says of itself. All see all claims, so that all come to the same verdict.
struct LaunchClaim {
  std::string build;
  std::string plan;  // its hash, and the steps that are made of it
  std::string host;
  std::string gpu;    // "GPU-<uuid>"; empty if none was found
  std::string error;  // what went wrong already; empty: nothing
  std::int64_t error_code = 0;

  [[nodiscard]] std::vector<char> to_bytes() const;
  static LaunchClaim from_bytes(std::span<const char> bytes);
};

/// @param claims     [rank]
/// @param gpus_shared whether two ranks may be on one GPU (tests of communication where there are few; never timing)
/// @throws Error with the code and message of the first rank that has one; Error{invalid_input} if builds or plans
///         differ, their number is not the plan's, or two ranks would be on one GPU
void require_agreement(const plan::Plan& plan, std::span<const LaunchClaim> claims, bool gpus_shared);

/// Which of the GPUs that a process can see it uses: with one alone that one (the launcher has chosen), else that of
/// its place on the node.
/// @throws Error{invalid_input} if there are fewer than processes on the node
std::int64_t choose_gpu(std::int64_t gpus_visible, std::int64_t rank_on_node, bool gpus_shared);

}  // namespace foretoken::runtime::cuda
