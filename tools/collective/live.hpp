// The table by measurement on this computer's CPUs: each size is a Plan of one communication, run by the executor.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "plan/plan.hpp"
#include "runtime/run.hpp"
#include "tools/collective/table.hpp"

namespace foretoken::collective {

/// Runs a plan: threads of this process, or this process's rank under MPI, which has a result at rank 0 alone.
using RunPlan = std::function<std::optional<runtime::RunResult>(const plan::Plan&)>;

/// A step is one execution of the operation; a rank begins the next one when all of its own messages are through.
/// @param bytes  whole_size
/// @throws Error{invalid_input} for what the host does not carry out: other dtypes than fp32, exchanges, and algorithms
///         but ring and direct of collectives, direct and pairwise of all-to-alls
plan::Plan live_plan(const Query& query, Bytes bytes, std::int64_t iterations);

/// Times are means of `iterations` after two that do not count, of the slowest rank.
/// @return where the runs have results
std::optional<Table> measure(const Query& query, std::int64_t iterations, const RunPlan& run,
                             const std::function<void(std::size_t, std::size_t)>& progress = {});

}  // namespace foretoken::collective
