// Who meets whom: a Communication, split into the groups of ranks that carry it out with one another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/ids.hpp"
#include "plan/program/program.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

struct Participant {
  RankId rank;
  OpId op;
};

/// One instance of a communication: a group's members, or a sender and its receiver. It takes place once per step.
struct Meeting {
  CommunicationId communication;
  std::int32_t instance = 0;  // collectives, dispatch and combine: index of the group among those of its family
  std::vector<Participant> participants;  // by rank; transfers: sender, receiver
};

class Meetings {
 public:
  /// Checks what the plan's validator has proved: groups are complete, every send has its recv.
  Meetings(const plan::Program& program, const ProgramIndex& index);

  [[nodiscard]] std::size_t size() const { return meetings_.size(); }
  [[nodiscard]] const Meeting& operator[](std::int32_t meeting) const {
    return meetings_[static_cast<std::size_t>(meeting)];
  }
  /// Where a rank's communication op takes part, and as which participant.
  struct Place {
    std::int32_t meeting = -1;
    std::int32_t participant = -1;
  };
  [[nodiscard]] Place place_of(RankId rank, OpId op) const { return places_[index_.slot(rank, op)]; }

 private:
  const ProgramIndex& index_;
  std::vector<Meeting> meetings_;
  std::vector<Place> places_;  // [slot of (rank, op)]
};

/// The communication that an op takes part in; invalid for compute.
CommunicationId communication_of(const plan::Op& op);

/// The collective that an op of this kind is. @throws Error{internal} for any other kind
CollectiveOp collective_of(plan::OpKind kind);

}  // namespace foretoken::sim
