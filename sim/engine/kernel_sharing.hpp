// Kernels that run at one time on one GPU: communication reserves SMs, and computation slows down for want of them.
//
// What both want of the GPU's memory is the network's business (sim/communication/memory_fabric.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/provenance.hpp"
#include "plan/program/program.hpp"
#include "sim/communication/communicator.hpp"
#include "sim/cost/estimate.hpp"
#include "sim/program_index.hpp"

namespace foretoken::sim {

/// What there is to know of a program's kernels.
struct KernelInterference {
  /// SMs that a communication op holds from being posted to its end.
  std::function<std::int64_t(RankId, OpId)> sms_of;
  /// Speed of a compute op while that many SMs are held by others: its time alone / its time then, in (0, 1].
  std::function<double(RankId, OpId, std::int64_t step, std::int64_t sms)> speed_of;
  Provenance provenance = Provenance::assumed;  // of what slows down
};

/// Whether a rank of this role can compute and communicate at one time: it does so on streams of different names.
bool overlaps(const plan::Role& role);

/// Which SMs are held on every rank, and how fast its compute ops run meanwhile.
///
/// Where a role cannot overlap nothing changes: its compute ops are not for this. Elsewhere they run as activities of
/// the network, and their speed is set anew when a communication op of their rank is posted or ends:
///
///   speed = time alone with all SMs / time alone with those that are not held
class KernelSharing {
 public:
  /// All are kept by reference. @param interference  null: nothing overlaps
  KernelSharing(const plan::Program& program, const KernelInterference* interference, Communicator& communicator);

  /// Whether compute ops of this rank are to be started here.
  [[nodiscard]] bool shares(RankId rank) const {
    return interference_ != nullptr && overlaps_[static_cast<std::size_t>(program_.role_of_rank[rank.index()])] != 0;
  }
  void communication_posted(const Execution& execution) { hold(execution, +1); }
  void communication_ended(const Execution& execution) { hold(execution, -1); }
  /// Sets the speeds that what was posted and ended at this instant asks for: once, when nothing more happens in it.
  /// Not before, for the network may have something to finish within the picosecond.
  void settle(SimTime now);

  /// Precondition: shares(execution.rank), estimate.time > 0
  void start_compute(const Execution& execution, const Estimate& estimate, SimTime now);
  /// Does nothing for an op that was not started here, because it takes no time.
  /// @return what its duration rests on: on `estimated`, and on what is known of interference if it took 5 % longer
  ///         than alone
  Provenance compute_ended(const Execution& execution, SimTime begun, SimTime now, Provenance estimated);

 private:
  struct Running {
    Execution execution;
    Estimate estimate;
    double speed = 1;
    std::int32_t tag = -1;
  };
  struct State {
    std::int64_t sms_held = 0;
    bool changed = false;          // what is held, at this instant
    std::vector<Running> running;  // at most one for each compute stream
  };

  void hold(const Execution& execution, int sign);

  const plan::Program& program_;
  const KernelInterference* interference_;
  Communicator& communicator_;
  std::vector<char> overlaps_;  // [role]
  std::vector<State> states_;   // [rank]
  std::vector<RankId> changed_;
};

}  // namespace foretoken::sim
