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
  /// Whether this rank has been asked to end; asked between measurements. Empty: never; all ranks must have it, or
  /// none.
  std::function<bool()> interrupted;
};

/// Of a rank that is a GPU.
struct GpuPlace {
  std::int32_t index = 0;  // among the GPUs of its node
  std::string name;        // "NVIDIA H100 80GB HBM3"
  std::string pci;         // "0000:1b:00.0"
  std::string nic;         // nearest to it, "" if not known: "mlx5_3"
  std::string
      conditions;  // during the product: "1755 to 1980 MHz, 500 W, 61 C, slowed down by power cap"; "" if unknown
};

struct HealthReadings {
  std::vector<std::string> hosts;          // by node: ranks of one host are a node, in the order of their ranks
  std::vector<std::int32_t> node_of_rank;  // [rank]
  std::vector<CoreReading> cores;          // [rank], or of its GPU; empty if it was interrupted before
  std::vector<LinkReading> within_nodes;   // in the order of the turns
  std::vector<LinkReading> between_nodes;
  bool cores_shared = false;   // a computer has more ranks than cores: they take turns on them
  std::vector<GpuPlace> gpus;  // [rank]; empty where ranks are on cores
  bool interrupted = false;    // what is measured last is not there, or not all of it
};

/// What a rank is at, for others to read when it no longer answers.
enum class HealthStage : std::uint8_t { meeting, cores, links_within_nodes, links_between_nodes };
std::string name_of(HealthStage stage);

/// Called by every rank of a launch at one time, with the same options.
/// @param host  of this rank
/// @param at    told of every stage that begins
/// @param interrupted  set at every rank if one was asked to end; may be null
/// @return what all ranks have measured at rank 0, nothing elsewhere
/// @throws Error{rank_failed} if a rank does not answer
std::optional<HealthReadings> probe_health(Communicator& communicator, RankId rank, std::int64_t ranks,
                                           const std::string& host, const HealthOptions& options,
                                           const std::function<void(HealthStage)>& at = {},
                                           bool* interrupted = nullptr);

}  // namespace foretoken::runtime
