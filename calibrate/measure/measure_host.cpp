#include "calibrate/measure/measure_host.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <tuple>
#include <utility>

#include "calibrate/measure/cache_curve.hpp"
#include "calibrate/measure/clocks.hpp"
#include "calibrate/measure/compute_probe.hpp"
#include "calibrate/measure/journal.hpp"
#include "calibrate/measure/schedule.hpp"
#include "core/error.hpp"
#include "runtime/machine_identity.hpp"

namespace foretoken::calibrate {
namespace {

using std::chrono::steady_clock;

using Kind = SchedulePart::Kind;

constexpr double kOverrunFirst = 8;
constexpr double kOverrunLater = 2;
constexpr double kCacheShare = 0.1;
constexpr double kComputeShare = 0.7;
constexpr const char* kComputeSource = "this-computer";

Bytes memory_of_computer() {
  return Bytes(static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::int64_t>(sysconf(_SC_PAGESIZE)));
}

class HostMeasuring {
 public:
  explicit HostMeasuring(const MeasureOptions& options)
      : options_(options),
        cores_(cores_of(options)),
        schedule_(make_schedule({cores_, options.ranks, options.seed, options.scenarios})) {}

  std::optional<HostMeasurement> operator()() {
    const bool computing = options_.ranks == 0;
    if (!computing && !options_.known)
      throw Error(ErrorCode::invalid_input,
                  "under mpirun messages alone are measured, and nothing is known of this computer's computing yet; "
                  "run foretoken calibrate host with the same --out without mpirun first");
    open_journal();
    deal_out_time(computing);
    caches_.cores = cores_;
    for (const SchedulePart& part : schedule_.parts) take(part, measured(part));
    if (!options_.leads) return std::nullopt;
    return result(computing);
  }

 private:
  // A launcher may have bound this process to one core: then what was known counts.
  static std::int64_t cores_of(const MeasureOptions& options) {
    return options.ranks != 0 && options.known ? options.known->calibration.host->cores : runtime::usable_cores();
  }

  void open_journal() {
    if (options_.journal.empty()) return;
    journal_.emplace(options_.journal,
                     MeasurementIdentity{runtime::this_machine(), cores_, options_.version, options_.ranks,
                                         options_.seed, schedule_.scenarios},
                     options_.date, options_.leads);
    if (options_.resumes && options_.leads && !journal_->known().empty())
      options_.resumes(journal_->known().size(), schedule_.parts.size());
  }

  // Of computing, half of the time in equal parts, half by what a step takes. What one probe does not use is there for
  // the rest.
  void deal_out_time(bool computing) {
    std::array<double, 3> parts{};
    for (const SchedulePart& part : schedule_.parts) parts[static_cast<std::size_t>(part.kind)] += 1;
    const double messages = computing ? 1 - kCacheShare - kComputeShare : 1;
    cache_time_ = options_.budget * kCacheShare / std::max(1.0, parts[0]);
    compute_left_ = options_.budget * kComputeShare;
    message_time_ = options_.budget * messages / std::max(1.0, parts[2]);
    left_ = parts;
    for (const ComputeProbe& probe : schedule_.compute) each_ += expected_step(probe);
    weights_left_ = each_ * (2.0 * schedule_.rounds);
    each_ = each_ / static_cast<double>(std::max<std::size_t>(1, schedule_.compute.size()));
  }

  [[nodiscard]] Seconds time_left() const {
    return cache_time_ * left_[0] + (left_[1] > 0 ? std::max(compute_left_, Seconds(0)) : Seconds(0)) +
           message_time_ * left_[2];
  }

  MeasuredPart measured(const SchedulePart& part) {
    const Seconds share = share_of(part);
    MeasuredPart result = known(part).value_or(MeasuredPart{});
    if (result.name.empty()) {
      if (options_.progress && options_.leads)
        options_.progress(1 - time_left().value() / options_.budget.value(), time_left(), part.name);
      result = measure(part, share);
      if (journal_) journal_->add(result);
      result = part_of(line_of(result), part.name);
    }
    left_[static_cast<std::size_t>(part.kind)] -= 1;
    if (part.kind == Kind::compute) compute_left_ -= std::min(result.took, share);
    return result;
  }

  Seconds share_of(const SchedulePart& part) {
    if (part.kind == Kind::cache) return cache_time_;
    if (part.kind == Kind::communication) return message_time_;
    const Seconds weight = expected_step(schedule_.compute[part.probe]) + each_;
    const Seconds share = compute_left_ * ratio(weight, weights_left_);
    weights_left_ -= weight;
    return share;
  }

  [[nodiscard]] std::optional<MeasuredPart> known(const SchedulePart& part) const {
    if (!journal_) return std::nullopt;
    const auto found = journal_->known().find(part.name);
    return found == journal_->known().end() ? std::nullopt : std::optional(found->second);
  }

  MeasuredPart measure(const SchedulePart& part, Seconds share) {
    MeasuredPart result;
    result.name = part.name;
    const auto begin = steady_clock::now();
    switch (part.kind) {
      case Kind::cache: result.per_byte = measure_cache(part.load, part.footprint, cores_, share); break;
      case Kind::compute: result.samples = compute(part, share); break;
      case Kind::communication: result.samples = communicate(schedule_.communication[part.probe], share); break;
    }
    result.took = Seconds(std::chrono::duration<double>(steady_clock::now() - begin).count());
    result.core_mhz = core_clock_mhz();
    return result;
  }

  std::vector<HostSample> compute(const SchedulePart& part, Seconds share) const {
    // A slow computer needs more for three repetitions than their share; only the first round has to be whole.
    const Seconds limit = share * (part.round == 0 ? kOverrunFirst : kOverrunLater);
    try {
      return measure_compute(schedule_.compute[part.probe], caches_, {cores_, share, limit, options_.budget});
    } catch (const Error& error) {
      if (part.round == 0 || error.code() != ErrorCode::unhealthy) throw;
      return {};
    }
  }

  // Every process of a launch must make the same runs, so no clock decides.
  [[nodiscard]] std::vector<HostSample> communicate(const CommunicationProbe& probe, Seconds share) const {
    const HostLoad load = probe.plan.program.ranks <= cores_ ? HostLoad::alone : HostLoad::crowded;
    return measure_communication(probe.name, probe.plan, communication_steps(probe.plan, share), load, options_.run);
  }

  void take(const SchedulePart& part, MeasuredPart measured) {
    if (part.kind == Kind::cache) {
      if (!measured.per_byte)
        throw input_error(options_.journal.string(), "", fmt::format("\"{}\" has no time per byte", part.name),
                          "take its line away, and it is measured again");
      add_cache_point(caches_.cache[static_cast<std::size_t>(part.load)], part.footprint, *measured.per_byte);
    }
    for (HostSample& sample : measured.samples) add(part, std::move(sample));
    if (measured.core_mhz <= 0) return;
    mhz_min_ = mhz_min_ > 0 ? std::min(mhz_min_, measured.core_mhz) : measured.core_mhz;
    mhz_max_ = std::max(mhz_max_, measured.core_mhz);
  }

  // Of a compute op that an earlier round has too, the less disturbed of both: others can only slow an op down.
  void add(const SchedulePart& part, HostSample sample) {
    const SampleKey key{sample.probe, sample.load, sample.op, sample.routed_step};
    const auto found = places_.find(key);
    if (part.round == 0 || found == places_.end()) {
      if (part.kind == Kind::compute) places_[key] = samples_.size();
      samples_.push_back(std::move(sample));
      return;
    }
    HostSample& first = samples_[found->second];
    first.cpu = std::min(first.cpu, sample.cpu);
    first.cpu_q10 = std::min(first.cpu_q10, sample.cpu_q10);
    first.cpu_q90 = std::max(first.cpu_q90, sample.cpu_q90);
    first.wall = std::min(first.wall, sample.wall);
    first.count += sample.count;
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

  [[nodiscard]] const std::string& date() const { return journal_ ? journal_->date() : options_.date; }

  [[nodiscard]] CalibrationSource source(const std::string& id, const runtime::MachineIdentity& machine,
                                         const std::string& communicator) const {
    CalibrationSource source;
    source.id = id;
    source.citation = fmt::format("{}, {} cores, {}, {}; foretoken {}, {}", machine.cpu, machine.cores, machine.kernel,
                                  machine.blas, options_.version, date());
    source.license = "own measurement";
    source.rows = std::count_if(samples_.begin(), samples_.end(),
                                [&](const HostSample& sample) { return sample.communicator == communicator; });
    source.note = fmt::format("budget {} s, order of probes by seed {}{}", options_.budget.value(), options_.seed,
                              options_.scenarios.empty() ? "" : ", for given scenarios");
    if (mhz_max_ > 0) source.note += fmt::format(", cores at {:.0f} to {:.0f} MHz", mhz_min_, mhz_max_);
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
    out.date = date();
    out.calibration.name = fmt::format("{}, {}", out.machine.cpu, out.date);
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

  using SampleKey = std::tuple<std::string, HostLoad, std::string, std::int64_t>;  // probe, load, op, routed step

  const MeasureOptions& options_;
  std::int64_t cores_;
  Schedule schedule_;
  std::optional<MeasurementJournal> journal_;
  std::array<double, 3> left_{};  // [Kind] parts
  Seconds cache_time_{};          // of a point
  Seconds message_time_{};        // of a probe
  Seconds compute_left_{};
  Seconds each_{};  // a compute probe's equal part, as a weight
  Seconds weights_left_{};
  HostCalibration caches_;
  std::vector<HostSample> samples_;
  std::map<SampleKey, std::size_t> places_;
  double mhz_min_ = 0;
  double mhz_max_ = 0;
};

}  // namespace

std::optional<HostMeasurement> measure_host(const MeasureOptions& options) { return HostMeasuring(options)(); }

}  // namespace foretoken::calibrate
