#include "calibrate/measure/measure_device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "calibrate/measure/stopping.hpp"
#include "core/error.hpp"
#include "runtime/machine_identity.hpp"

namespace foretoken::calibrate {
namespace {

using runtime::cuda::Bootstrap;
using runtime::cuda::MessageProbe;
using runtime::cuda::Probe;

constexpr std::size_t kBatchesMin = 3;
constexpr std::size_t kBatchesEnough = 8;
constexpr std::size_t kBatchesMax = 200;
constexpr double kOverrun = 8;
// A batch takes so long at least, so that the ends of its first and last kernel do not matter.
constexpr double kBatchSeconds = 200e-6;
constexpr std::int64_t kRepetitionsMax = 200;

// What ranks tell each other while they measure.
class Agreement {
 public:
  explicit Agreement(Bootstrap& bootstrap) : bootstrap_(bootstrap) {}

  struct Numbers {
    double largest = 0;  // of all ranks
    double first = 0;    // rank 0's
  };
  // Two numbers of each rank at once: what waits for all ranks disturbs what is measured as little as can be.
  Numbers numbers(double own, double other) {
    Numbers agreed;
    const std::vector<Bootstrap::Bytes> all = bootstrap_.all_gather(bytes_of({own, other}));
    agreed.first = pair_of(all.front())[1];
    for (const Bootstrap::Bytes& bytes : all) agreed.largest = std::max(agreed.largest, pair_of(bytes)[0]);
    return agreed;
  }
  std::vector<std::string> texts(const std::string& own) {
    std::vector<std::string> all;
    for (const Bootstrap::Bytes& bytes : bootstrap_.all_gather({own.begin(), own.end()}))
      all.emplace_back(bytes.begin(), bytes.end());
    return all;
  }

 private:
  using Pair = std::array<double, 2>;
  static Bootstrap::Bytes bytes_of(const Pair& pair) {
    Bootstrap::Bytes bytes(sizeof pair);
    std::memcpy(bytes.data(), pair.data(), sizeof pair);
    return bytes;
  }
  static Pair pair_of(const Bootstrap::Bytes& bytes) {
    Pair pair{};
    FORETOKEN_CHECK(bytes.size() == sizeof pair, "a rank has told no numbers");
    std::memcpy(pair.data(), bytes.data(), sizeof pair);
    return pair;
  }
  Bootstrap& bootstrap_;
};

class DeviceMeasuring {
 public:
  DeviceMeasuring(runtime::cuda::ProbeDevice& device, Bootstrap& bootstrap, const std::vector<Probe>& probes,
                  const MeasureDeviceOptions& options)
      : device_(device), leads_(bootstrap.rank() == 0), agreement_(bootstrap), probes_(probes), options_(options) {}

  DeviceMeasurement operator()() {
    out_.machine = device_.machine();
    out_.hosts = agreement_.texts(runtime::this_machine().host);
    out_.gpus = agreement_.texts(out_.machine.gpu.name + " " + out_.machine.gpu.uuid);
    out_.date = options_.date;
    open_journal();
    const Seconds began = options_.now();
    std::string connected;
    for (std::size_t at = 0; at < probes_.size(); ++at) {
      const Probe& probe = probes_[at];
      std::optional<ProbeTimes> times = known(probe);
      if (!times) {
        const Seconds left = std::max(options_.budget - (options_.now() - began), Seconds(0));
        const bool ends = leads_ && options_.interrupted && options_.interrupted();
        const auto [ended, share] = agreement_.numbers(
            ends ? 1 : 0, left.value() / static_cast<double>(std::max<std::int64_t>(1, unknown_left_)));
        if (ended > 0) {
          out_.whole = false;
          break;
        }
        if (leads_ && options_.progress)
          options_.progress(static_cast<double>(at) / static_cast<double>(probes_.size()), left, name_of(probe));
        connect_for(probe, connected);
        times = measure(probe, Seconds(share));
        if (journal_) journal_->add(*times);
        // Who goes on uses what the line says, so that all that follows is a function of the file.
        times = probe_times_of(line_of(*times), name_of(probe));
        --unknown_left_;
      }
      take(probe, std::move(*times));
    }
    return std::move(out_);
  }

 private:
  void open_journal() {
    std::string there;
    if (leads_ && !options_.journal.empty()) {
      journal_.emplace(options_.journal,
                       DeviceMeasurementIdentity{options_.version, out_.hosts, out_.gpus, out_.machine.driver,
                                                 out_.machine.blas, out_.machine.nccl, options_.seed},
                       options_.date);
      for (const auto& [name, times] : journal_->known()) there += line_of(times) + "\n";
      out_.date = journal_->date();
    }
    // Rank 0's file is everybody's.
    out_.date = agreement_.texts(out_.date).front();
    for (const std::string& line : whole_lines(agreement_.texts(there).front())) {
      ProbeTimes times = probe_times_of(line, options_.journal.string());
      known_.emplace(times.probe, std::move(times));
    }
    for (const Probe& probe : probes_) unknown_left_ += known_.contains(name_of(probe)) ? 0 : 1;
    if (leads_ && options_.resumes && !known_.empty()) options_.resumes(known_.size(), probes_.size());
  }

  [[nodiscard]] std::optional<ProbeTimes> known(const Probe& probe) const {
    const auto found = known_.find(name_of(probe));
    return found == known_.end() ? std::nullopt : std::optional(found->second);
  }

  // Communicators of all messages by one algorithm are made when the first of them comes.
  void connect_for(const Probe& probe, std::string& connected) {
    const auto* const message = std::get_if<MessageProbe>(&probe);
    const std::string block = "by " + (message == nullptr ? "" : message->algorithm);
    if (message == nullptr || connected == block) return;
    std::vector<MessageProbe> all;
    for (const Probe& other : probes_)
      if (const auto* const one = std::get_if<MessageProbe>(&other);
          one != nullptr && one->algorithm == message->algorithm)
        all.push_back(*one);
    device_.connect(message->algorithm, all);
    connected = block;
  }

  // Time of one repetition, of the slowest rank; and since the probe began, of the first.
  struct Batch {
    double one = 0;
    double used = 0;
  };
  Batch batch(std::int64_t repetitions, Seconds began) {
    const double took = device_.run(repetitions).value();
    const auto [slowest, used] = agreement_.numbers(took, (options_.now() - began).value());
    return {slowest / static_cast<double>(repetitions), used};
  }

  ProbeTimes measure(const Probe& probe, Seconds share) {
    ProbeTimes times;
    times.probe = name_of(probe);
    const Seconds began = options_.now();
    std::string refused;
    try {
      device_.prepare(probe);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::infeasible) throw;
      refused = error.what();
    }
    // Where one rank lacks the memory, none measures.
    for (const std::string& why : agreement_.texts(refused))
      if (times.left_out.empty()) times.left_out = why;
    if (times.left_out.empty()) repeat(times, began, share);
    times.took = options_.now() - began;
    times.conditions = device_.conditions();
    return times;
  }

  void repeat(ProbeTimes& times, Seconds began, Seconds share) {
    const double one = std::max(batch(1, began).one, 1e-9);
    times.repetitions =
        std::clamp(static_cast<std::int64_t>(std::ceil(kBatchSeconds / one)), std::int64_t{1}, kRepetitionsMax);
    std::vector<std::int64_t> nanoseconds;
    for (;;) {
      const auto [seconds, used] = batch(times.repetitions, began);
      times.picoseconds.push_back(std::max<std::int64_t>(1, std::llround(seconds * kPicosecondsPerSecond)));
      nanoseconds.push_back(std::llround(seconds * 1e9));
      const std::size_t count = nanoseconds.size();
      if (count >= kBatchesMax) return;
      if (count >= kBatchesMin && used > kOverrun * share.value()) return;
      if (count >= kBatchesEnough && (used > share.value() || often_enough(nanoseconds))) return;
    }
  }

  void take(const Probe& probe, ProbeTimes times) {
    if (!times.left_out.empty()) {
      out_.left_out.push_back(std::move(times));
      return;
    }
    out_.probes.push_back(probe);
    out_.times.push_back(std::move(times));
  }

  runtime::cuda::ProbeDevice& device_;
  bool leads_;
  Agreement agreement_;
  const std::vector<Probe>& probes_;
  const MeasureDeviceOptions& options_;
  std::optional<DeviceJournal> journal_;
  std::map<std::string, ProbeTimes> known_;
  std::int64_t unknown_left_ = 0;
  DeviceMeasurement out_;
};

}  // namespace

DeviceMeasurement measure_device(runtime::cuda::ProbeDevice& device, Bootstrap& bootstrap,
                                 const std::vector<Probe>& probes, const MeasureDeviceOptions& options) {
  return DeviceMeasuring(device, bootstrap, probes, options)();
}

}  // namespace foretoken::calibrate
