// Progressive filling of one component, over arrays packed for it: sim/network/max_min.hpp has the mathematics.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "sim/network/tournament.hpp"

namespace foretoken::sim {

/// Who grows until when, and how far each has come.
///
/// A *constraint* is a resource that may fill up, or an activity's ceiling: a resource of its own. A *member* is an
/// activity. A filling is a list of steps in order of level; in each, a constraint fills up and holds those of its
/// members that nothing holds yet. So a level belongs to a constraint, and a member's is that of the constraint that
/// holds it, which is seldom another one than before: of a skewed all-to-all's flows, one in a hundred per filling or
/// fewer. Therefore a constraint has a clock, the integral of its level over time, and a member is due when the clock
/// of what holds it shows a certain value. A filling moves the clocks of its constraints and touches a member only when
/// something else holds it now.
///
/// When a member is removed, the steps before its own stay as they are: until then it grew with the others, and only
/// slowed down constraints that were not the next to fill. So filling resumes at the first such step, or rather at the
/// last checkpoint before it: the state of all constraints, stored several times per filling. A member that is added
/// changes nothing before the level at which its tightest constraint would fill up if nobody else stopped growing.
///
/// Cost of a filling: the members of the constraints that fill up from that step on, read in sequence, and a tournament
/// of constraints whose keys are lower bounds.
class Filling {
 public:
  struct Use {
    std::int32_t constraint = 0;
    double amount = 1;  // per unit of level
  };
  struct Due {
    double time = 0;
    std::int32_t member = 0;
  };

  /// @param uses_max of a member; not less than 1
  /// @param unit     all amounts are 1
  void clear(std::size_t uses_max, bool unit);

  std::int32_t add_constraint(double capacity);
  /// @param left work, which goes down by the member's level per second
  std::int32_t add_member(std::int32_t slot, double left, std::span<const Use> uses);
  /// Whether a member with these uses may be added.
  [[nodiscard]] bool has_room_for(std::span<const Use> uses) const;
  /// The member uses one more constraint, which it did not use. Nothing that was found fits any more. Returns whether
  /// there was room for it.
  bool add_use(std::int32_t member, const Use& use);
  void remove(std::int32_t member);
  /// The next filling starts from nothing.
  void forget() {
    restart_ = 0;
    checkpoints_used_ = 0;
  }

  /// Finds the levels from `now` on.
  /// @param checkpoints whether to store states, for the next filling to resume from
  void fill(double now, bool checkpoints);

  [[nodiscard]] std::int32_t slot(std::int32_t member) const { return members_[at(member)].slot; }
  [[nodiscard]] double level(std::int32_t member) const;
  [[nodiscard]] double left(std::int32_t member, double time) const;
  /// When the next member is due; infinity if none ever is.
  [[nodiscard]] double next() const;
  /// Appends all that are due by `time`, in no order.
  void due_by(double time, std::vector<Due>& due) const;

 private:
  static constexpr std::uint32_t kHeld = 1U << 31U;  // in a member's first peer: it is this constraint that holds it
  static constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static constexpr std::int32_t kNobody = -1;
  static constexpr std::int32_t kRemoved = -2;

  struct OnClock {
    double clock;
    std::int32_t member;
    bool operator>(const OnClock& other) const {
      return std::pair(clock, member) > std::pair(other.clock, other.member);
    }
  };
  struct Constraint {
    double capacity = 0;
    double slope = 0;  // of all members
    double level = 0;
    double clock = 0;          // at `since`
    double since = 0;          // when the level was found
    double first = kInfinity;  // what the clock shows when the first member that it holds is due
    std::int32_t step = 0;
    std::vector<std::int32_t> members;
    std::vector<std::uint32_t> peers;  // [members x peers_]: what else they use; kNoPeer where there are fewer
    std::vector<double> amounts;       // [members x (1 + peers_)]: of itself, then of its peers; none if all are 1
    std::vector<OnClock> due;          // a heap; also of members that it holds no longer
  };
  struct Place {
    std::int32_t constraint = kNoPeer;
    std::int32_t position = 0;  // among its members
  };
  struct Member {
    double due = 0;  // on the clock of what holds it; what is left, while nothing does
    std::int32_t slot = 0;
    std::int32_t held_by = kNobody;
  };
  // What filling changes all the time.
  struct Open {
    double free = 0;   // capacity less what those take that something holds
    double slope = 0;  // what one unit of level takes for the others
  };
  struct Step {
    std::int32_t constraint = 0;
    std::int32_t stopped = 0;  // how many members
  };
  struct Checkpoint {
    std::int32_t step = 0;  // before it
    std::vector<Open> open;
    std::vector<std::int32_t> growing;
  };
  static constexpr std::int32_t kNoPeer = 0;  // a constraint that never fills up

  static std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }
  static double clock_at(const Constraint& constraint, double time) {
    return constraint.clock + constraint.level * (time - constraint.since);
  }
  [[nodiscard]] std::span<Place> places(std::int32_t member) {
    return std::span(places_).subspan(at(member) * uses_max_, uses_max_);
  }
  [[nodiscard]] double amount_of(const Place& place) const {
    return unit_ ? 1.0 : constraints_[at(place.constraint)].amounts[at(place.position) * (1 + peers_)];
  }
  [[nodiscard]] std::uint32_t& first_peer(const Place& place) {
    return constraints_[at(place.constraint)].peers[at(place.position) * peers_];
  }
  [[nodiscard]] bool grows(std::int32_t constraint) const {
    return unit_ ? open_[at(constraint)].slope > 0 : growing_[at(constraint)] > 0;
  }

  void enter(std::int32_t member, std::span<const Use> uses, std::size_t index);
  void take_from_list(const Place& place);
  void lower_restart(double level);
  void drop_checkpoints();
  std::int32_t resume();
  void store_checkpoint();
  void sum_afresh(std::int32_t constraint);
  std::int32_t close(std::int32_t constraint, double level, double now);
  template <std::size_t kPeers>
  std::int32_t stop_members(Constraint& constraint, double level);
  std::int32_t stop_members_by_amount(Constraint& constraint, double level);
  void hold(std::int32_t constraint, std::size_t position, double now);
  void let_go(std::int32_t member);
  void restart_clock(std::int32_t constraint);
  void collect_due(std::int32_t constraint);

  std::size_t uses_max_ = 1;
  std::size_t peers_ = 1;  // stored per member of a constraint
  bool unit_ = true;
  std::int32_t live_ = 0;  // members
  std::vector<Constraint> constraints_;
  std::size_t constraints_used_ = 0;
  std::vector<Member> members_;
  std::vector<Place> places_;          // [members x uses_max_]
  std::vector<Open> open_;             // [constraint]
  std::vector<std::int32_t> growing_;  // [constraint]: how many, an exact zero; kept where amounts differ
  std::vector<char> closed_;           // [constraint]

  std::vector<Step> steps_;
  std::int32_t restart_ = 0;  // first step that is out of date
  std::vector<Checkpoint> checkpoints_;
  std::size_t checkpoints_used_ = 0;

  Tournament tournament_;           // scratch: of constraints, by lower bounds of their levels
  std::vector<std::size_t> newly_;  // scratch: positions of members that something else held
};

}  // namespace foretoken::sim
