// A communication op as messages and sums, built once from the algorithm that the Plan names.
//
// A Schedule is a list of rounds. A round posts its sends and receives, waits for all of them, and then does its local
// work in the order given. Every sum has one order, which follows from the algorithm and the ranks' places in the
// group: whoever carries the messages, the result is the same to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime {

struct Message {
  RankId peer;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// `target` becomes a copy of `source`, or has fp32 numbers added to it; scale and add_scaled: the same with each
/// number times `factor`.
struct LocalWork {
  enum class Kind : std::uint8_t { copy, add, scale, add_scaled };
  Kind kind = Kind::copy;
  std::byte* target = nullptr;
  const std::byte* source = nullptr;
  std::size_t bytes = 0;
  const float* factor = nullptr;  // read when the work is done
};

struct Round {
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::function<void()> arrived;  // before `work`: takes note of counts that have come; may be empty
  std::vector<LocalWork> work;
};

struct Schedule {
  std::vector<LocalWork> before;  // done when the op is posted
  std::vector<Round> rounds;
  std::vector<std::vector<float>> rooms;  // for partial sums, and for what is sent with its slots
};

void carry_out(std::span<const LocalWork> work);

/// The buffers of a communication op; a side that it does not have is empty.
struct CommunicationBuffers {
  std::span<std::byte> in;
  std::span<std::byte> out;
  // Where a token is sent once per node: the second input and output.
  std::span<std::byte> in_weights;   // dispatch: the tokens' routes; combine: the rows' weights
  std::span<std::byte> out_weights;  // dispatch: the rows' weights
};

/// Builds the schedules of one rank's communication ops.
class ScheduleBuilder {
 public:
  /// Keeps references to both. @param tables learns what arrives, where that is not planned
  ScheduleBuilder(const plan::Plan& plan, RankId rank, RowTables& tables);

  /// Whether an op's messages are only known when it starts.
  [[nodiscard]] bool at_run_time(const plan::Op& op) const {
    return is_exchange(op.kind) && plan_.scenario.deployment.dispatch_mode != plan::DispatchMode::planned;
  }
  /// Takes the rooms of a schedule that is done, to use them again.
  void recycle(Schedule& done);

  /// @param routed_step matters to exchanges alone: other ops have one schedule for all
  Schedule build(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);

 private:
  struct Group {
    std::vector<RankId> members;
    std::size_t own = 0;  // this rank's place
  };
  struct Parts {
    std::vector<std::size_t> begin;  // [part], bytes; one more than there are parts
    [[nodiscard]] std::size_t bytes(std::size_t part) const { return begin[part + 1] - begin[part]; }
  };

  Schedule collective(const plan::Op& op, const CommunicationBuffers& buffers);
  Schedule all_reduce(const Group& group, plan::CollectiveOpDetail detail, CollectiveAlgorithm algorithm,
                      const CommunicationBuffers& buffers);
  Schedule exchange(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule exchange_counts(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule dispatch_slots(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule combine_slots(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule dispatch_once_per_node(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule combine_once_per_node(const plan::Op& op, const CommunicationBuffers& buffers, std::int64_t routed_step);
  Schedule transfer(const plan::Op& op, const CommunicationBuffers& buffers) const;

  void ring_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* sums,
                           std::size_t first_part);
  void ring_all_gather(Schedule& schedule, const Group& group, const Parts& parts, std::byte* all,
                       std::size_t first_part) const;
  void direct_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* in, std::byte* out);
  void direct_all_gather(Schedule& schedule, const Group& group, const Parts& parts, std::byte* all) const;

  [[nodiscard]] Group group_of(const plan::Communication& communication) const;
  [[nodiscard]] plan::Range sources_of(const plan::Communication& communication) const;
  [[nodiscard]] std::int64_t experts_on(const plan::Communication& communication, std::size_t member) const;
  std::byte* room(Schedule& schedule, std::size_t bytes);

  const plan::Plan& plan_;
  RankId rank_;
  RowTables& tables_;
  std::vector<std::vector<float>> spare_;  // rooms
};

}  // namespace foretoken::runtime
