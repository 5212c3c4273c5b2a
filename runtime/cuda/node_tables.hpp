// What a rank does beside its messages where tokens go once per node (hierarchical exchange), as one array of integers
// to be copied to a device once. The plan knows the routing, so all of it is known before the first step.
//
// Between NCCL's two groups of an op (runtime/nccl_calls.hpp) a rank works on two staging buffers:
//
//   dispatch  leaving: rows for other ranks, then those that it passes on    coming: visitors, its own tokens last
//             before   copies rows of its tokens to leaving and to its own visitors
//             between  copies visitors that it passes on to leaving
//             after    copies visitors and their weights to the rows of its experts
//   combine   leaving: a sum for each visitor    coming: rows that come back from other ranks
//             before   the sums that its own node gets in the first group: of its experts' rows alone
//             between  the sums that go to other nodes: of its experts' rows, and what its own node has sent
//             after    the sums of its own tokens
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/once_per_node.hpp"
#include "runtime/nccl_calls.hpp"
#include "runtime/node_exchange.hpp"

namespace foretoken::runtime::cuda {

class NodeTables {
 public:
  /// Empty unless plan::sends_once_per_node. Precondition: the plan knows the routing, and reaches experts without
  /// chunks
  NodeTables(const plan::Plan& plan, RankId rank);

  /// So many numbers at an offset into all().
  struct Table {
    std::size_t offset = 0;
    std::int64_t count = 0;
  };
  struct Sums {
    Table targets;
    std::size_t first_terms = 0;
    std::size_t terms = 0;
  };
  /// Of one routed step, layer and micro-batch.
  struct Of {
    Table leaving;         // [row]: its token; of rows for other ranks, in their order
    Table own;             // likewise of rows for its own experts
    Table passing;         // [row]: its visitor
    Table visitor_of_row;  // [row of its experts, in the order of arrival]
    std::size_t choice_of_row = 0;
    std::int64_t visitors = 0;
    std::size_t first_uses = 0;  // [visitor + 1]
    std::size_t uses = 0;        // [row of its experts, by visitor and choice]
    Sums before;
    Sums between;
    Sums after;
    [[nodiscard]] std::int64_t own_first() const { return visitors - own.count; }
    [[nodiscard]] std::int64_t others() const { return leaving.count + passing.count; }
  };

  [[nodiscard]] const Of& at(std::int64_t routed_step, const plan::Op& op) const;
  [[nodiscard]] std::span<const std::int32_t> all() const { return all_; }

  /// The sums with the addresses that they have in a copy of all().
  [[nodiscard]] static NodeSums sums(const Of& of, const Sums& which, const std::int32_t* all);

 private:
  Table append(std::span<const std::int32_t> numbers);
  [[nodiscard]] Of tables_of(const NodeExchange& exchange, std::int32_t own, std::int64_t tokens);

  /// Lists of terms, of one sum after the other.
  struct Terms {
    std::vector<std::int32_t> targets;
    std::vector<std::vector<std::int32_t>> of_target;
  };
  Sums append(const Terms& terms);

  std::vector<std::int32_t> all_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Of> of_;
};

/// Rows of the staging buffers of an op, and numbers of its tables.
struct NodeStaging {
  std::int64_t leaving = 0;  // the most of any routed step
  std::int64_t coming = 0;   // likewise
  std::int64_t numbers = 0;  // in NodeTables::all(), of all routed steps; a combine's are its dispatch's
};
/// None if the op is no dispatch or combine, or tokens do not go once per node.
NodeStaging node_staging_max(const plan::Plan& plan, RankId rank, const plan::Op& op);

/// The two groups of an op's calls. Precondition: its tokens go once per node; a rank without messages has no calls
struct NodeRounds {
  std::span<const NcclCall> first;
  std::span<const NcclCall> second;
};
NodeRounds node_rounds(const NcclOperation& operation);

}  // namespace foretoken::runtime::cuda
