// The NCCL communicators that a plan needs, and which of them each communication op uses.
//
// NCCL carries out the calls of one communicator one after the other, on whatever streams they are. So every in-order
// stream of the plan gets communicators of its own, and so does every way between two pipeline stages: else a send that
// waits for its peer would hold up a receive that the peer waits for. A rank uses a channel on one stream only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/plan.hpp"

namespace foretoken::runtime::cuda {

/// A communicator as one rank sees it. All ranks have the same list, in the same order, so that all can split them off
/// the communicator of all ranks in that order.
struct Channel {
  std::string name;             // "ep on comm", "stage 0 to 1"
  std::vector<RankId> members;  // of this rank's instance, ascending: its number in NCCL is its place here; or empty
  std::int64_t own = -1;        // this rank's place
  [[nodiscard]] bool joined() const { return own >= 0; }
};

class Channels {
 public:
  Channels(const plan::Plan& plan, RankId rank);

  [[nodiscard]] const std::vector<Channel>& all() const { return channels_; }
  /// Index of the channel that a communication op of this rank uses; -1 where its group is the rank alone.
  [[nodiscard]] std::int64_t of(const plan::Op& op) const;

 private:
  const plan::Plan& plan_;
  RankId rank_;
  std::vector<Channel> channels_;
  struct Key {
    GroupId group;           // of collectives and exchanges; transfers: invalid
    plan::Stream stream;     // of those
    std::int64_t from = -1;  // stages of a transfer
    std::int64_t to = -1;
    auto operator<=>(const Key&) const = default;
  };
  [[nodiscard]] Key key_of(const plan::Op& op, RankId rank) const;
  [[nodiscard]] Channel make(const Key& key) const;
  std::vector<Key> keys_;  // [channel], ascending
};

}  // namespace foretoken::runtime::cuda
