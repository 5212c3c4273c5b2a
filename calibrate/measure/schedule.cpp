#include "calibrate/measure/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <set>
#include <utility>

#include "calibrate/measure/cache_curve.hpp"
#include "calibrate/measure/probe_plan.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "plan/host_limits.hpp"

namespace foretoken::calibrate {
namespace {

using Kind = SchedulePart::Kind;

constexpr int kRounds = 3;
constexpr std::int64_t kProbeRanksMax = 16;

template <class Entry>
void shuffle(std::vector<Entry>& entries, std::int64_t seed) {
  RandomSequence random(static_cast<std::uint64_t>(seed), 0, 0, 0);
  for (std::size_t i = entries.size(); i > 1; --i) std::swap(entries[i - 1], entries[random.below(i)]);
}

// Probes are told apart by name, in tables and in CSV without quotes.
template <class Probe>
void name_apart(std::vector<Probe>& probes) {
  std::set<std::string> taken;
  for (Probe& probe : probes) {
    for (char& c : probe.name)
      if (c == ',' || c == '"' || c == '|' || std::iscntrl(static_cast<unsigned char>(c)) != 0) c = ';';
    const std::string name = probe.name;
    for (int again = 2; !taken.insert(probe.name).second; ++again) probe.name = fmt::format("{} #{}", name, again);
  }
}

void choose_probes(Schedule& schedule, const ScheduleOptions& options) {
  for (const std::filesystem::path& file : options.scenarios) {
    const plan::Plan plan = host_plan(JsonDocument::from_file(file));
    plan::require_host_can_run(plan);
    schedule.scenarios.push_back(plan.scenario.name + " " + plan.plan_hash);
    for (const plan::Role& role : plan.program.roles) {
      std::string name = plan.scenario.name;
      if (plan.program.roles.size() > 1) name += " " + role.name;
      schedule.compute.push_back({std::move(name), plan, role.ranks.front()});
    }
    const bool fits = options.ranks == 0 ? plan.program.ranks <= kProbeRanksMax : plan.program.ranks == options.ranks;
    if (plan.program.ranks > 1 && fits) schedule.communication.push_back({plan.scenario.name, plan});
  }
  if (options.ranks != 0 && !options.scenarios.empty() && schedule.communication.empty())
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("--for: under mpirun messages alone are measured, and no given scenario has the {} ranks that "
                    "were started; give one that has, or leave --for out",
                    options.ranks));
  if (options.scenarios.empty()) schedule.compute = built_in_compute_probes();
  std::vector<std::int64_t> sizes{2};
  if (options.ranks != 0) {
    sizes = {options.ranks};
  } else if (options.scenarios.empty()) {
    for (const std::int64_t ranks : {2 * options.cores, 4 * options.cores})
      if (ranks > 2 && ranks <= kProbeRanksMax) sizes.push_back(ranks);
  }
  for (const std::int64_t ranks : sizes)
    for (CommunicationProbe& probe : built_in_communication_probes(ranks))
      schedule.communication.push_back(std::move(probe));
  name_apart(schedule.compute);
  name_apart(schedule.communication);
  shuffle(schedule.compute, options.seed);
  shuffle(schedule.communication, options.seed);
}

std::string_view name_of_load(HostLoad load) { return load == HostLoad::alone ? "alone" : "crowded"; }

}  // namespace

Schedule make_schedule(const ScheduleOptions& options) {
  Schedule schedule;
  choose_probes(schedule, options);
  schedule.rounds = options.scenarios.empty() ? kRounds : 1;
  const auto add = [&](Kind kind, std::string name) -> SchedulePart& {
    SchedulePart& part = schedule.parts.emplace_back();
    part.kind = kind;
    part.name = std::move(name);
    return part;
  };
  if (options.ranks == 0) {
    for (const HostLoad load : {HostLoad::alone, HostLoad::crowded}) {
      for (const Bytes footprint : cache_footprints()) {
        SchedulePart& part = add(Kind::cache, fmt::format("cache {} {}", name_of_load(load), footprint.value()));
        part.load = load;
        part.footprint = footprint;
      }
    }
    std::vector<std::size_t> order(schedule.compute.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (int round = 0; round < schedule.rounds; ++round) {
      for (const std::size_t probe : order) {
        SchedulePart& part = add(Kind::compute, fmt::format("compute {} {}", round, schedule.compute[probe].name));
        part.round = round;
        part.probe = probe;
      }
      shuffle(order, options.seed + 1 + round);
    }
  }
  for (std::size_t probe = 0; probe < schedule.communication.size(); ++probe)
    add(Kind::communication, "messages " + schedule.communication[probe].name).probe = probe;
  return schedule;
}

}  // namespace foretoken::calibrate
