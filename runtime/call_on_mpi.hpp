// Processes of a launch that do something else than run a Plan: a function is called in each, with what carries its
// messages.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/ids.hpp"
#include "runtime/communicator.hpp"
#include "runtime/executor.hpp"
#include "runtime/run.hpp"

namespace foretoken::runtime {

/// @param progress  for the rank to write where it is, in numbers of the caller's own
using RankBody = std::function<void(RankId rank, Communicator& communicator, RankProgress& progress)>;

#ifdef FORETOKEN_MPI
/// Every process of the launch calls it at one time. Where the body throws, or a rank is killed or stopped, one line to
/// standard error says who and where, and all processes end with exit code 6.
/// @param describe  what a rank is at, from the progress that it wrote
void call_on_mpi(MpiProcess& mpi, const RankBody& body, const std::function<std::string(std::uint64_t)>& describe);
#endif

}  // namespace foretoken::runtime
