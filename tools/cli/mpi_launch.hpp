// What a command does as one of several processes that mpirun has started.
#pragma once

#include <cstdint>

#include "core/error.hpp"
#include "runtime/run.hpp"

namespace foretoken::cli {

/// Calls `body(mpi)` if this process is one of a launch; an error of it ends them all.
/// @param body       takes a runtime::MpiProcess&; generic, as there is no such type without MPI
/// @param ranks_min  a launch of fewer processes counts as none
/// @return whether this process is one
/// @throws Error{invalid_input} if it is, and foretoken was built without MPI
template <class Body>
bool run_under_mpi([[maybe_unused]] const Body& body, std::int64_t ranks_min = 1) {
  if (runtime::launched_ranks().value_or(0) < ranks_min) return false;
#ifdef FORETOKEN_MPI
  runtime::MpiProcess mpi;
  try {
    body(mpi);
  } catch (const Error& error) {
    mpi.end_all(error);
  }
  return true;
#else
  throw Error(ErrorCode::invalid_input,
              "this foretoken was built without MPI; install libopenmpi-dev and build again, or run without mpirun");
#endif
}

}  // namespace foretoken::cli
