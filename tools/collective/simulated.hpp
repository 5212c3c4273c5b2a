// The table by simulation.
#pragma once

#include <functional>

#include "sim/collective/alone.hpp"
#include "sim/collective/host_alone.hpp"
#include "tools/collective/table.hpp"

namespace foretoken::collective {

/// Flows that an all-to-all may have: all are in memory at once.
inline constexpr std::int64_t kFlowsMax = std::int64_t{1} << 23;

/// @param progress  called before each row with how many are done, and of how many
/// @throws Error{invalid_input} for an algorithm that the operation or the machine does not have, experts or ranks that
///         do not divide evenly, or more flows than kFlowsMax
Table simulate(const Query& query, const sim::Fabric& fabric, const sim::AloneOptions& options,
               const std::function<void(std::size_t, std::size_t)>& progress = {});

/// One row of it: `asked` bytes (of exchanges tokens per rank) among the ranks of `alone`, which the query names too.
/// @throws Error{invalid_input} as above
Row simulate_row(const Query& query, const sim::Alone& alone, std::int64_t asked);

/// The same among the threads of a computer: what `measure` finds there. Exchanges are not among it.
/// @param machine  of the transport
Table simulate(const Query& query, const plan::Machine& machine, const sim::HostTransport& transport,
               const sim::AloneOptions& options, const std::function<void(std::size_t, std::size_t)>& progress = {});

}  // namespace foretoken::collective
