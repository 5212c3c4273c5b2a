#include "calibrate/measure/measure_host.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "calibrate/measure/cache_curve.hpp"
#include "calibrate/measure/compute_probe.hpp"
#include "calibrate/measure/probe_plan.hpp"
#include "calibrate/measure/probes.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "plan/host_limits.hpp"
#include "runtime/machine_identity.hpp"

namespace foretoken::calibrate {
namespace {

using std::chrono::steady_clock;

constexpr int kRounds = 3;
constexpr double kOverrunFirst = 8;
constexpr double kOverrunLater = 2;
constexpr double kCacheShare = 0.1;
constexpr double kComputeShare = 0.7;
constexpr std::int64_t kProbeRanksMax = 16;
constexpr const char* kComputeSource = "this-computer";

Bytes memory_of_computer() {
  return Bytes(static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGESIZE)));
}

template <class Probe>
void shuffle(std::vector<Probe>& probes, std::int64_t seed) {
  RandomSequence random(static_cast<std::uint64_t>(seed), 0, 0, 0);
  for (std::size_t i = probes.size(); i > 1; --i) std::swap(probes[i - 1], probes[random.below(i)]);
}

struct Probes {
  std::vector<ComputeProbe> compute;
  std::vector<CommunicationProbe> communication;
};

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

Probes choose_probes(const MeasureOptions& options, std::int64_t cores) {
  Probes probes;
  for (const std::filesystem::path& file : options.scenarios) {
    const plan::Plan plan = host_plan(JsonDocument::from_file(file));
    plan::require_host_can_run(plan);
    for (const plan::Role& role : plan.program.roles) {
      std::string name = plan.scenario.name;
      if (plan.program.roles.size() > 1) name += " " + role.name;
      probes.compute.push_back({std::move(name), plan, role.ranks.front()});
    }
    const bool fits = options.ranks == 0 ? plan.program.ranks <= kProbeRanksMax : plan.program.ranks == options.ranks;
    if (plan.program.ranks > 1 && fits) probes.communication.push_back({plan.scenario.name, plan});
  }
  if (options.ranks != 0 && !options.scenarios.empty() && probes.communication.empty())
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("--for: under mpirun messages alone are measured, and no given scenario has the {} ranks that "
                    "were started; give one that has, or leave --for out",
                    options.ranks));
  if (options.scenarios.empty()) probes.compute = built_in_compute_probes();
  std::vector<std::int64_t> sizes{2};
  if (options.ranks != 0) {
    sizes = {options.ranks};
  } else if (options.scenarios.empty()) {
    for (const std::int64_t ranks : {2 * cores, 4 * cores})
      if (ranks > 2 && ranks <= kProbeRanksMax) sizes.push_back(ranks);
  }
  for (const std::int64_t ranks : sizes)
    for (CommunicationProbe& probe : built_in_communication_probes(ranks))
      probes.communication.push_back(std::move(probe));
  name_apart(probes.compute);
  name_apart(probes.communication);
  shuffle(probes.compute, options.seed);
  shuffle(probes.communication, options.seed);
  return probes;
}

class Measurement {
 public:
  explicit Measurement(const MeasureOptions& options)
      : options_(options), cores_(cores_of(options)), begin_(steady_clock::now()) {}

  std::optional<HostMeasurement> operator()() {
    const bool computing = options_.ranks == 0;
    if (!computing && !options_.known)
      throw Error(ErrorCode::invalid_input,
                  "under mpirun messages alone are measured, and nothing is known of this computer's computing yet; "
                  "run foretoken calibrate host with the same --out without mpirun first");
    Probes probes = choose_probes(options_, cores_);
    if (computing) {
      say("caches");
      caches_.cores = cores_;
      caches_.cache = measure_caches({cores_, options_.budget * kCacheShare});
      compute(std::move(probes.compute));
    }
    communicate(probes.communication, computing ? 1 - kCacheShare - kComputeShare : 1);
    if (!options_.leads) return std::nullopt;
    return result(computing);
  }

 private:
  // A launcher may have bound this process to one core: then what was known counts.
  static std::int64_t cores_of(const MeasureOptions& options) {
    return options.ranks != 0 && options.known ? options.known->calibration.host->cores : runtime::usable_cores();
  }

  void say(const std::string& what) const {
    if (options_.progress)
      options_.progress(std::chrono::duration<double>(steady_clock::now() - begin_).count() / options_.budget.value(),
                        what);
  }

  // Half of the time in equal parts, half by what a step takes. What one probe does not use is there for the rest.
  // Built-in probes come round several times: a computer that others use, or that gets warm, is not the same all the
  // time.
  void compute(std::vector<ComputeProbe> probes) {
    const int rounds = options_.scenarios.empty() ? kRounds : 1;
    Seconds left = options_.budget * kComputeShare;
    Seconds all{};
    for (const ComputeProbe& probe : probes) all += expected_step(probe);
    const Seconds each = all / static_cast<double>(probes.size());
    Seconds weights_left = all * (2.0 * rounds);
    for (int round = 0; round < rounds; ++round) {
      std::vector<HostSample> samples;
      for (const ComputeProbe& probe : probes) {
        say(probe.name);
        const auto begin = steady_clock::now();
        const Seconds weight = expected_step(probe) + each;
        const Seconds share = left * ratio(weight, weights_left);
        weights_left -= weight;
        // A slow computer needs more for three repetitions than their share; only the first round has to be whole.
        const double times = round == 0 ? kOverrunFirst : kOverrunLater;
        std::vector<HostSample> own;
        try {
          own = measure_compute(probe, caches_, {cores_, share, share * times, options_.budget});
        } catch (const Error& error) {
          if (round == 0 || error.code() != ErrorCode::unhealthy) throw;
        }
        samples.insert(samples.end(), own.begin(), own.end());
        left -= std::min(Seconds(std::chrono::duration<double>(steady_clock::now() - begin).count()), share);
      }
      add_round(std::move(samples));
      shuffle(probes, options_.seed + 1 + round);
    }
  }

  // Of a sample that is there already the less disturbed of both counts: others can only slow an op down.
  void add_round(std::vector<HostSample> samples) {
    std::map<std::tuple<std::string, HostLoad, std::string, std::int64_t>, std::size_t> known;
    for (std::size_t i = 0; i < samples_.size(); ++i)
      known[{samples_[i].probe, samples_[i].load, samples_[i].op, samples_[i].routed_step}] = i;
    for (HostSample& sample : samples) {
      const auto found = known.find({sample.probe, sample.load, sample.op, sample.routed_step});
      if (found == known.end()) {
        samples_.push_back(std::move(sample));
        continue;
      }
      HostSample& first = samples_[found->second];
      first.cpu = std::min(first.cpu, sample.cpu);
      first.cpu_q10 = std::min(first.cpu_q10, sample.cpu_q10);
      first.cpu_q90 = std::max(first.cpu_q90, sample.cpu_q90);
      first.wall = std::min(first.wall, sample.wall);
      first.count += sample.count;
    }
  }

  // Every process of a launch must make the same runs, so no clock decides.
  void communicate(const std::vector<CommunicationProbe>& probes, double share) {
    const Seconds time = options_.budget * share / static_cast<double>(probes.size());
    for (const CommunicationProbe& probe : probes) {
      if (options_.leads) say(probe.name);
      const HostLoad load = probe.plan.program.ranks <= cores_ ? HostLoad::alone : HostLoad::crowded;
      const std::vector<HostSample> samples =
          measure_communication(probe.name, probe.plan, communication_steps(probe.plan, time), load, options_.run);
      samples_.insert(samples_.end(), samples.begin(), samples.end());
    }
  }

  // Of what is known all that was not measured again: under a launcher the same probe, otherwise all but other
  // communicators.
  void keep_known(bool computing) {
    if (!options_.known) return;
    const std::string now = samples_.back().communicator;
    std::vector<HostSample> kept;
    for (const HostSample& sample : options_.known->samples) {
      const bool again = std::any_of(samples_.begin(), samples_.end(), [&](const HostSample& other) {
        return other.communicator == sample.communicator && other.probe == sample.probe;
      });
      const bool replaced = computing && (sample.communicator.empty() || sample.communicator == now);
      if (!again && !replaced) kept.push_back(sample);
    }
    samples_.insert(samples_.begin(), kept.begin(), kept.end());
    if (!computing) caches_ = *options_.known->calibration.host;
  }

  [[nodiscard]] CalibrationSource source(const std::string& id, const runtime::MachineIdentity& machine,
                                         const std::string& communicator) const {
    CalibrationSource source;
    source.id = id;
    source.citation = fmt::format("{}, {} cores, {}, {}; foretoken {}, {}", machine.cpu, machine.cores, machine.kernel,
                                  machine.blas, options_.version, options_.date);
    source.license = "own measurement";
    source.rows = std::count_if(samples_.begin(), samples_.end(),
                                [&](const HostSample& sample) { return sample.communicator == communicator; });
    source.note = fmt::format("budget {} s, order of probes by seed {}{}", options_.budget.value(), options_.seed,
                              options_.scenarios.empty() ? "" : ", for given scenarios");
    return source;
  }

  HostMeasurement result(bool computing) {
    FORETOKEN_CHECK(!samples_.empty(), "the leading process has samples");
    const std::string now = samples_.back().communicator;
    keep_known(computing);
    HostMeasurement out;
    out.machine = runtime::this_machine();
    out.memory = memory_of_computer();
    out.fit = fit_host(samples_, options_.seed);

    HostCalibration host;
    host.cores = cores_;
    host.source = kComputeSource;
    host.cache = caches_.cache;
    host.unit_costs = out.fit.unit_costs;
    host.families = out.fit.families;
    out.calibration.name = fmt::format("{}, {}", out.machine.cpu, options_.date);
    out.calibration.device.name = out.machine.cpu;
    const auto add_source = [&](const std::string& id, const std::string& communicator, bool measured) {
      CalibrationSource fresh = source(id, out.machine, communicator);
      if (!measured && options_.known)
        for (const CalibrationSource& known : options_.known->calibration.sources)
          if (known.id == id) fresh = known;
      out.calibration.sources.push_back(std::move(fresh));
    };
    add_source(kComputeSource, "", computing);
    for (HostCommunication communication : out.fit.communication) {
      communication.source = std::string(kComputeSource) + " by " + communication.communicator;
      add_source(communication.source, communication.communicator, communication.communicator == now);
      // A plan that does not say how its messages go means threads.
      if (communication.communicator == "threads") host.communication.insert(host.communication.begin(), communication);
      else host.communication.push_back(communication);
    }
    out.calibration.host = std::move(host);
    out.samples = std::move(samples_);
    return out;
  }

  const MeasureOptions& options_;
  std::int64_t cores_;
  steady_clock::time_point begin_;
  HostCalibration caches_;
  std::vector<HostSample> samples_;
};

}  // namespace

std::optional<HostMeasurement> measure_host(const MeasureOptions& options) { return Measurement(options)(); }

}  // namespace foretoken::calibrate
