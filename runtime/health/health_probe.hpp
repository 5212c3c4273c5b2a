// A health check of the ranks of a launch: every rank's core, and the links between them.
//
// What a rank does while nobody else disturbs it is measured in turns (turns.hpp). A backend brings its own core probe;
// links are measured by what carries the messages of its ranks.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/communicator.hpp"
#include "runtime/health/core_probe.hpp"
#include "runtime/health/link_probe.hpp"
#include "runtime/health/turns.hpp"

namespace foretoken::runtime {

struct HealthOptions {
  CoreProbeOptions core;
  LinkProbeOptions link;
  TurnOptions turns;
  std::chrono::milliseconds deadline{30'000};  // a rank that does not answer for so long has failed
  std::function<CoreReading(const CoreProbeOptions&)> probe_core = runtime::probe_core;
};

struct HealthReadings {
  std::vector<std::string> hosts;          // by node: ranks of one host are a node, in the order of their ranks
  std::vector<std::int32_t> node_of_rank;  // [rank]
  std::vector<CoreReading> cores;          // [rank]
  std::vector<LinkReading> within_nodes;   // in the order of the turns
  std::vector<LinkReading> between_nodes;
  bool cores_shared = false;  // a computer has more ranks than cores: they take turns on them
};

/// What a rank is at, for others to read when it no longer answers.
enum class HealthStage : std::uint8_t { meeting, cores, links_within_nodes, links_between_nodes };
std::string name_of(HealthStage stage);

/// Called by every rank of a launch at one time, with the same options.
/// @param host  of this rank
/// @param at    told of every stage that begins
/// @return what all ranks have measured at rank 0, nothing elsewhere
/// @throws Error{rank_failed} if a rank does not answer
std::optional<HealthReadings> probe_health(Communicator& communicator, RankId rank, std::int64_t ranks,
                                           const std::string& host, const HealthOptions& options,
                                           const std::function<void(HealthStage)>& at = {});

}  // namespace foretoken::runtime
