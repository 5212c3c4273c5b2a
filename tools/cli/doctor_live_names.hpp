// What nodes, ranks and GPUs are called in a live diagnosis, and what is likely wrong with them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "runtime/health/health_probe.hpp"

namespace foretoken::cli {

/// Causes, and what to look at.
struct LiveCauses {
  const char* slow_core;
  const char* slow_nic;
  const char* slow_way;
  const char* slow_memory;
  const char* slow_group;
};
/// Of cores or of GPUs, whatever the ranks are on.
const LiveCauses& causes_of(const runtime::HealthReadings& readings);

/// "node 1", or "node 1 (host7)".
std::string node_name(const runtime::HealthReadings& readings, std::int32_t node);
/// "rank 5 on node 1", of a GPU "rank 5 on node 1, GPU 3 (0000:1b:00.0)".
std::string rank_name(const runtime::HealthReadings& readings, RankId rank);
/// As an end of a link between nodes: of a GPU "rank 5 on node 1, GPU 3, NIC mlx5_3", else its node alone.
std::string link_end_name(const runtime::HealthReadings& readings, RankId rank);

std::vector<RankId> ranks_of(const runtime::HealthReadings& readings, std::int32_t node);

}  // namespace foretoken::cli
