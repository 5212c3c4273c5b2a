// Points of a sweep by whoever is there to compute them: the cores of this process, or the processes of an MPI launch.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "runtime/run.hpp"

namespace foretoken::planning {

/// A point's result as text, the same whoever computes it.
using Compute = std::function<std::string(std::size_t point)>;
/// Called once per point, by one thread at a time, in no particular order.
using Done = std::function<void(std::size_t point, const std::string& result)>;

/// On `threads` threads, at least one.
/// @throws what `compute` or `done` throws; the others stop after the points they are at
void work_on_threads(const std::vector<std::size_t>& points, unsigned threads, const Compute& compute,
                     const Done& done);

#ifdef FORETOKEN_MPI
/// On all processes of the launch. Rank 0 hands out points and computes too; the others take some, bring the results
/// back and take more. What a process has that does not come back, because it was killed or is slow, is handed out
/// again once there is nothing else to do, and counts from whoever is first. So no point is lost, as long as mpirun
/// lets the others live (Open MPI: --enable-recovery).
///
/// @param points   at rank 0; of the others it is ignored
/// @return whether all processes were heard of to the end; if not, MPI_Finalize might wait for them for ever
/// @throws what `compute` or `done` throws, at any rank, and Error{rank_failed} where rank 0 is not heard of any more
bool work_over_mpi(const runtime::MpiProcess& mpi, const std::vector<std::size_t>& points, const Compute& compute,
                   const Done& done);
#endif

}  // namespace foretoken::planning
