#include "runtime/cuda/gpu_health.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "runtime/health/turns.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr std::int64_t kHealthRepetitionsMax = 1'000;

std::string text_of(const GpuConditions& conditions) {
  if (conditions.samples == 0) return "";
  std::string text =
      fmt::format("{} to {} MHz, {:.0f} W, {} C", conditions.sm_clock_mhz_min, conditions.sm_clock_mhz_max,
                  conditions.power_watts_mean, conditions.temperature_celsius_max);
  if (!conditions.throttled.empty()) text += fmt::format(", slowed down by {}", fmt::join(conditions.throttled, ", "));
  return text;
}

// One rank's part in all of it.
class GpuHealthProbe {
 public:
  GpuHealthProbe(ProbeDevice& device, Bootstrap& bootstrap, const GpuHealthOptions& options,
                 const std::function<void(HealthStage)>& at)
      : device_(device),
        bootstrap_(bootstrap),
        rank_(static_cast<std::int32_t>(bootstrap.rank())),
        options_(options),
        at_(at) {}

  std::optional<HealthReadings> operator()(const std::string& host, const std::string& nic) {
    enter(HealthStage::meeting);
    find_nodes(host);
    describe(nic);
    enter(HealthStage::cores);
    if (goes_on()) measure_gpus();
    if (bootstrap_.ranks() > 1 && goes_on()) {
      device_.connect_all();
      enter(HealthStage::links_within_nodes);
      all_.within_nodes = links(pairs_within_nodes(
          all_.node_of_rank, {.one_at_a_time = false, .opponents_max = options_.within_opponents_max}));
      enter(HealthStage::links_between_nodes);
      all_.between_nodes = links(pairs_between_places(
          all_.node_of_rank, {.one_at_a_time = false, .opponents_max = options_.between_opponents_max}));
    }
    all_.interrupted = interrupted_;
    if (rank_ != RankId(0)) return std::nullopt;
    return std::move(all_);
  }

  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  void enter(HealthStage stage) const {
    if (at_) at_(stage);
  }

  // All that ranks tell each other. In most turns some ranks take no part, and do nothing but wait here.
  std::vector<Bootstrap::Bytes> all_gather(const Bootstrap::Bytes& own) {
    device_.wait();
    std::vector<Bootstrap::Bytes> all = bootstrap_.all_gather(own);
    device_.wait();
    return all;
  }
  template <class T>
  std::vector<T> all_values(const T& own) {
    static_assert(std::is_trivially_copyable_v<T>);
    Bootstrap::Bytes bytes(sizeof own);
    std::memcpy(bytes.data(), &own, sizeof own);
    std::vector<T> all;
    for (const Bootstrap::Bytes& one : all_gather(bytes)) {
      FORETOKEN_CHECK(one.size() == sizeof own, "ranks tell each other different things");
      std::memcpy(&all.emplace_back(), one.data(), sizeof own);
    }
    return all;
  }
  std::vector<std::string> all_texts(const std::string& own) {
    std::vector<std::string> all;
    for (const Bootstrap::Bytes& bytes : all_gather({own.begin(), own.end()}))
      all.emplace_back(bytes.begin(), bytes.end());
    return all;
  }

  // The same at every rank.
  bool goes_on() {
    if (!options_.interrupted || interrupted_) return !interrupted_;
    const std::vector<std::int64_t> asked = all_values<std::int64_t>(options_.interrupted() ? 1 : 0);
    interrupted_ = *std::max_element(asked.begin(), asked.end()) > 0;
    return !interrupted_;
  }

  void find_nodes(const std::string& host) {
    const std::vector<std::string> hosts = all_texts(host);
    all_.node_of_rank = LaunchLayout::of(hosts).node_of_rank;
    for (std::size_t r = 0; r < hosts.size(); ++r)
      if (static_cast<std::size_t>(all_.node_of_rank[r]) == all_.hosts.size()) all_.hosts.push_back(hosts[r]);
  }

  void describe(const std::string& nic) {
    const GpuRecord& gpu = device_.machine().gpu;
    const std::vector<std::string> names = all_texts(gpu.name);
    const std::vector<std::string> places = all_texts(gpu.pci);
    const std::vector<std::string> nics = all_texts(nic);
    std::vector<std::int32_t> on_node(all_.hosts.size(), 0);
    for (std::size_t r = 0; r < names.size(); ++r)
      all_.gpus.push_back(
          {on_node[static_cast<std::size_t>(all_.node_of_rank[r])]++, names[r], places[r], nics[r], ""});
  }

  void measure_gpus() {
    const GemmProbe& p = options_.product;
    const double flops = 2.0 * static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k);
    static_cast<void>(device_.conditions());
    const double product = measure(Probe(p));
    const std::vector<std::string> conditions = all_texts(text_of(device_.conditions()));
    const double copy = measure(Probe(CopyProbe{options_.copied, true}));
    CoreReading own;
    own.product = own.product_by_cpu = FlopsPerSecond(flops / product);
    own.copy = own.copy_by_cpu = options_.copied / Seconds(copy);
    all_.cores = all_values(own);
    for (std::size_t r = 0; r < conditions.size(); ++r) all_.gpus[r].conditions = conditions[r];
  }

  // Seconds of one repetition. All ranks measure something, or nothing, at the same time; of a rank that takes no part
  // in the probe it is 0.
  double measure(const std::optional<Probe>& probe) {
    double one = 0;
    if (probe) {
      device_.prepare(*probe);
      one = device_.run(1).value();
    }
    const std::vector<double> ones = all_values(one);
    const double slowest = std::max(*std::max_element(ones.begin(), ones.end()), 1e-9);
    const auto repetitions = static_cast<std::int64_t>(
        std::clamp(options_.batch.value() / slowest, 1.0, static_cast<double>(kHealthRepetitionsMax)));
    double fastest = std::numeric_limits<double>::infinity();
    for (int batch = 0; batch < options_.batches; ++batch)
      if (probe) fastest = std::min(fastest, device_.run(repetitions).value() / static_cast<double>(repetitions));
    // Nobody begins the next one while another is at this one.
    static_cast<void>(all_gather({}));
    return probe ? std::max(fastest, 1e-12) : 0;
  }

  // Of all ranks, in the order of the turns. A turn's pairs have no rank twice.
  std::vector<LinkReading> links(const std::vector<PairTurn>& turns) {
    std::vector<LinkReading> all;
    for (const PairTurn& turn : turns) {
      if (!goes_on()) return all;
      const auto own = std::find_if(turn.begin(), turn.end(),
                                    [&](const RankPair& pair) { return pair.first == rank_ || pair.second == rank_; });
      const auto timed = [&](bool back, Bytes bytes) {
        std::optional<Probe> probe;
        if (own != turn.end())
          probe = back ? PairProbe{own->second, own->first, bytes} : PairProbe{own->first, own->second, bytes};
        return measure(probe);
      };
      LinkReading reading;
      reading.latency = Seconds(timed(false, options_.shortest));
      const double there = timed(false, options_.message);
      const double back = timed(true, options_.message);
      reading.message = {options_.message, options_.message};
      if (own != turn.end()) {
        reading.pair = *own;
        reading.bandwidth = {options_.message / Seconds(there), options_.message / Seconds(back)};
      }
      // What a pair's first rank says: both ends of a message have the same time, but for when they began.
      const std::vector<LinkReading> told = all_values(reading);
      for (const RankPair& pair : turn) all.push_back(told[pair.first.index()]);
    }
    return all;
  }

  ProbeDevice& device_;
  Bootstrap& bootstrap_;
  RankId rank_;
  const GpuHealthOptions& options_;
  const std::function<void(HealthStage)>& at_;
  HealthReadings all_;
  bool interrupted_ = false;
};

}  // namespace

std::optional<HealthReadings> probe_gpu_health(ProbeDevice& device, Bootstrap& bootstrap, const std::string& host,
                                               const std::string& nic, const GpuHealthOptions& options,
                                               const std::function<void(HealthStage)>& at, bool* interrupted) {
  GpuHealthProbe probe(device, bootstrap, options, at);
  std::optional<HealthReadings> readings = probe(host, nic);
  if (interrupted != nullptr) *interrupted = probe.interrupted();
  return readings;
}

}  // namespace foretoken::runtime::cuda
