#include "runtime/health/health_probe.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "core/error.hpp"
#include "runtime/stop_vote.hpp"

namespace foretoken::runtime {
namespace {

using HostName = std::array<char, 64>;
constexpr CommunicationId kProbe{0};
constexpr CommunicationId kEndVotes{1};
constexpr RankId kLeader{0};

// One rank's part in all of it.
class HealthProbe {
 public:
  HealthProbe(Communicator& communicator, RankId rank, std::int64_t ranks, const HealthOptions& options,
              const std::function<void(HealthStage)>& at)
      : messages_(communicator, kProbe, options.deadline),
        vote_(communicator, kEndVotes, rank, ranks, options.interrupted),
        rank_(rank),
        ranks_(ranks),
        options_(options),
        at_(at) {}

  std::optional<HealthReadings> operator()(const std::string& host) {
    enter(HealthStage::meeting);
    find_nodes(host);
    enter(HealthStage::cores);
    for (const std::vector<RankId>& turn : ranks_in_turn(all_.node_of_rank, options_.turns)) {
      if (!goes_on()) break;
      messages_.meet();
      // Who waits looks for messages again and again, and so disturbs those that share its core: better to sleep.
      if (std::find(turn.begin(), turn.end(), rank_) != turn.end()) core_ = options_.probe_core(options_.core);
      else std::this_thread::sleep_for(2 * options_.core.windows * options_.core.window);
    }
    const bool cores_done = !interrupted_;
    enter(HealthStage::links_within_nodes);
    const auto within = links(pairs_within_nodes(all_.node_of_rank, options_.turns));
    enter(HealthStage::links_between_nodes);
    const auto between = links(pairs_between_nodes(all_.node_of_rank, options_.turns));
    messages_.meet();
    collect(all_.within_nodes, within);
    collect(all_.between_nodes, between);
    if (cores_done) collect(all_.cores, std::vector{core_});
    all_.interrupted = interrupted_;
    if (rank_ != kLeader) return std::nullopt;
    all_.cores_shared = cores_shared();
    return std::move(all_);
  }

  [[nodiscard]] bool interrupted() const { return interrupted_; }

 private:
  // Emulated nodes are one computer.
  [[nodiscard]] bool cores_shared() const {
    const std::int64_t cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (options_.turns.one_at_a_time) return ranks_ > cores;
    for (std::size_t node = 0; node < all_.hosts.size(); ++node)
      if (std::count(all_.node_of_rank.begin(), all_.node_of_rank.end(), static_cast<std::int32_t>(node)) > cores)
        return true;
    return false;
  }

  // The same at every rank.
  bool goes_on() {
    if (!interrupted_) interrupted_ = vote_.stops(options_.deadline);
    return !interrupted_;
  }

  void enter(HealthStage stage) const {
    if (at_) at_(stage);
  }

  // Rank 0 hears all names and tells them to all.
  void find_nodes(const std::string& host) {
    std::vector<HostName> names(static_cast<std::size_t>(ranks_));
    HostName own{};
    std::copy_n(host.begin(), std::min(host.size(), own.size() - 1), own.begin());
    names[rank_.index()] = own;
    if (rank_ != kLeader) {
      messages_.send_value(kLeader, own);
      messages_.receive(kLeader, std::as_writable_bytes(std::span(names)));
    } else {
      for (std::size_t r = 1; r < names.size(); ++r) names[r] = messages_.receive_value<HostName>(RankId(r));
      for (std::size_t r = 1; r < names.size(); ++r) messages_.send(RankId(r), std::as_bytes(std::span(names)));
    }
    for (const HostName& name : names) {
      const auto known = std::find(all_.hosts.begin(), all_.hosts.end(), name.data());
      all_.node_of_rank.push_back(static_cast<std::int32_t>(known - all_.hosts.begin()));
      if (known == all_.hosts.end()) all_.hosts.emplace_back(name.data());
    }
  }

  // Those that this rank is the first of a pair of.
  std::vector<LinkReading> links(const std::vector<PairTurn>& turns) {
    std::vector<LinkReading> own;
    for (const PairTurn& turn : turns) {
      if (!goes_on()) break;
      messages_.meet();
      for (const RankPair& pair : turn) {
        if (pair.first != rank_ && pair.second != rank_) continue;
        const LinkReading reading = probe_link(messages_, rank_, pair, options_.link, buffer_);
        if (pair.first == rank_) own.push_back(reading);
      }
    }
    return own;
  }

  // At rank 0 all ranks', by rank.
  template <class Reading>
  void collect(std::vector<Reading>& all, const std::vector<Reading>& own) {
    if (rank_ != kLeader) {
      messages_.send_value(kLeader, static_cast<std::int64_t>(own.size()));
      messages_.send(kLeader, std::as_bytes(std::span(own)));
      return;
    }
    all = own;
    for (std::int64_t r = 1; r < ranks_; ++r) {
      const RankId from(static_cast<std::int32_t>(r));
      std::vector<Reading> theirs(static_cast<std::size_t>(messages_.receive_value<std::int64_t>(from)));
      messages_.receive(from, std::as_writable_bytes(std::span(theirs)));
      all.insert(all.end(), theirs.begin(), theirs.end());
    }
  }

  BlockingMessages messages_;
  StopVote vote_;
  bool interrupted_ = false;
  RankId rank_;
  std::int64_t ranks_;
  const HealthOptions& options_;
  const std::function<void(HealthStage)>& at_;
  HealthReadings all_;
  CoreReading core_;
  std::vector<std::byte> buffer_;
};

}  // namespace

std::string name_of(HealthStage stage) {
  switch (stage) {
    case HealthStage::meeting: return "finding out who is where";
    case HealthStage::cores: return "measuring every rank's core";
    case HealthStage::links_within_nodes: return "measuring messages within nodes";
    case HealthStage::links_between_nodes: return "measuring messages between nodes";
  }
  FORETOKEN_CHECK(false, "no such stage");
}

std::optional<HealthReadings> probe_health(Communicator& communicator, RankId rank, std::int64_t ranks,
                                           const std::string& host, const HealthOptions& options,
                                           const std::function<void(HealthStage)>& at, bool* interrupted) {
  HealthProbe probe(communicator, rank, ranks, options, at);
  std::optional<HealthReadings> readings = probe(host);
  if (interrupted != nullptr) *interrupted = probe.interrupted();
  return readings;
}

}  // namespace foretoken::runtime
