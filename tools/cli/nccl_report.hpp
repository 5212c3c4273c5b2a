// What NCCL has noted of itself during a run: its choices beside the plan's, its estimates, and the topology that it
// saw beside the scenario's.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plan/machine/topology.hpp"
#include "runtime/cuda/run_cuda.hpp"

namespace foretoken::cli {

/// Member `live.cuda.observed` of a result.
nlohmann::ordered_json nccl_json(const runtime::cuda::NcclObservation& observed, const plan::Topology& topology);

/// For people: what differs from the plan and from the topology; "" if nothing does.
std::string nccl_text(const runtime::cuda::NcclObservation& observed, const plan::Topology& topology);

/// What NCCL saw that the topology says otherwise: "8 GPUs in a node, and the topology has 4".
/// @param xml  NCCL's topology file; one that cannot be read is a difference too
std::vector<std::string> topology_differences(const std::string& xml, const plan::Topology& topology);

/// What to --set so that a simulation has the algorithms that NCCL chose in a stored result of `run --backend cuda`.
/// @throws Error{invalid_input} naming file and pointer if it has none, or if NCCL took several for one kind
std::vector<std::string> settings_of_result(const std::filesystem::path& result);

}  // namespace foretoken::cli
