// A communication op as messages and sums, built once from the algorithm that the Plan names.
//
// A Schedule is a list of rounds. A round posts its sends and receives, waits for all of them, and then does its local
// work in the order given. Every sum has one order, which follows from the algorithm and the ranks' places in the
// group: whoever carries the messages, the result is the same to the bit.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// `target` becomes a copy of `source`, or has fp32 numbers added to it.
struct LocalWork {
  enum class Kind : std::uint8_t { copy, add };
  Kind kind = Kind::copy;
  std::byte* target = nullptr;
  const std::byte* source = nullptr;
  std::size_t bytes = 0;
};

struct Round {
  std::vector<Message> sends;
  std::vector<Message> receives;
  std::vector<LocalWork> work;
};

struct Schedule {
  std::vector<LocalWork> before;  // done when the op is posted
  std::vector<Round> rounds;
};

void carry_out(std::span<const LocalWork> work);

/// The buffers of a communication op; a side that it does not have is empty.
struct CommunicationBuffers {
  std::span<std::byte> in;
  std::span<std::byte> out;
};

/// Builds the schedules of one rank's communication ops. Owns the room that partial sums need.
class ScheduleBuilder {
 public:
  /// Keeps references to both.
  ScheduleBuilder(const plan::Plan& plan, RankId rank, const RowTables& tables);

  /// @param routed_step matters to dispatch and combine alone: other ops have one schedule for all
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
  Schedule transfer(const plan::Op& op, const CommunicationBuffers& buffers) const;

  void ring_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* sums,
                           std::size_t first_part);
  void ring_all_gather(Schedule& schedule, const Group& group, const Parts& parts, std::byte* all,
                       std::size_t first_part) const;
  void direct_reduce_scatter(Schedule& schedule, const Group& group, const Parts& parts, std::byte* in, std::byte* out);
  void direct_all_gather(Schedule& schedule, const Group& group, const Parts& parts, std::byte* all) const;

  [[nodiscard]] Group group_of(const plan::Communication& communication) const;
  std::byte* room(std::size_t bytes);

  const plan::Plan& plan_;
  RankId rank_;
  const RowTables& tables_;
  std::vector<std::vector<float>> rooms_;
};

}  // namespace foretoken::runtime
