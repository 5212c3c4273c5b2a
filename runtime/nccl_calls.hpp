// A communication op as NCCL calls: which communicator, which functions, in which order, with what counts and peers.
//
// Plain C++ without NCCL's header. A backend that has NCCL and the recording communicator (runtime/recording) both take
// their calls from here, so that what the checker proves is what runs:
//
//   NcclLowering lowering(plan);
//   for (const NcclFamily& family : lowering.families())            // the same order on every rank
//     ncclCommSplit(world, family.color_of_rank[rank], rank, …);    // -1: NCCL_SPLIT_NOCOLOR
//   …
//   const NcclOperation what = lowering.operation(rank, op, rows);  // rows: of dispatch and combine
//   for (const NcclCall& call : what.calls) …                       // on the communicator of what.family, op.stream
//
// A backend issues a role's ops in program order, every op on its stream, after the events of its dependencies. Where
// counts are exchanged at run time (dispatch_mode exact) its host waits for an exchange_counts before it issues the
// dispatch that needs them.
//
// The plan's algorithm of a collective (ring, direct, …) is not NCCL's to be told per call: NCCL's own tuner decides,
// or the environment does. Communicators are one per group and stream, because NCCL carries out the operations of one
// communicator one after the other, on whichever streams they are; and one per pair of ranks of a pipeline, so that
// what a rank sends on never waits for what it receives.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime {

enum class NcclFunction : std::uint8_t {
  group_start,
  group_end,
  all_reduce,      // sum
  all_gather,      // count: of one rank
  reduce_scatter,  // sum; count: of one rank
  broadcast,       // peer is the root
  reduce,          // sum; peer is the root
  all_to_all,      // count: to one rank
  send,
  recv,
  copy,  // no call of NCCL's: from the op's input to its output on this rank, on the op's stream
};

constexpr std::array<std::pair<NcclFunction, std::string_view>, 11> kNcclFunctionNames{
    {{NcclFunction::group_start, "ncclGroupStart"},
     {NcclFunction::group_end, "ncclGroupEnd"},
     {NcclFunction::all_reduce, "ncclAllReduce"},
     {NcclFunction::all_gather, "ncclAllGather"},
     {NcclFunction::reduce_scatter, "ncclReduceScatter"},
     {NcclFunction::broadcast, "ncclBroadcast"},
     {NcclFunction::reduce, "ncclReduce"},
     {NcclFunction::all_to_all, "ncclAlltoAll"},
     {NcclFunction::send, "ncclSend"},
     {NcclFunction::recv, "ncclRecv"},
     {NcclFunction::copy, "copy"}}};

constexpr std::string_view name_of(NcclFunction function) {
  return kNcclFunctionNames[static_cast<std::size_t>(function)].second;
}
/// Every member of the communicator has to make the same call.
constexpr bool is_collective(NcclFunction function) {
  return function >= NcclFunction::all_reduce && function <= NcclFunction::all_to_all;
}

/// One call. Offsets are in elements of the op's first input and first output; where a communication has slots, in
/// elements of a staging buffer of [rank of the communicator][header_rows + slots][cols] (combine: [slots]).
///
/// Where a token is sent once per node, an op's calls are two groups, the rounds of runtime/node_exchange.hpp, and rows
/// are copied or added up before, between and after them. Offsets are then in elements of two staging buffers:
///
///   dispatch  from: leaving lots but for the rank's own, then passing lots    to: visitors
///   combine   from: visitors    to: for each other peer its rows in leaving, then those in passing
struct NcclCall {
  NcclFunction function = NcclFunction::copy;
  DType dtype = DType::fp16;
  std::int32_t peer = -1;  // rank within the communicator
  std::int64_t count = 0;  // elements
  std::int64_t from = 0;
  std::int64_t to = 0;
  bool operator==(const NcclCall&) const = default;
};

/// Communicators that are made by one split: disjoint groups of ranks, each in ascending order.
struct NcclFamily {
  std::string name;                         // "ep on exchange0", "stage 0 to 1"
  std::vector<std::int32_t> color_of_rank;  // -1: in none
  /// Members of a rank's communicator; its rank there is its place among them.
  [[nodiscard]] std::vector<RankId> members(RankId rank) const;
};

struct NcclOperation {
  std::int32_t family = -1;  // -1: no call of NCCL's
  std::vector<NcclCall> calls;
};

/// Rows that a rank has for its peers in a dispatch, and the other way in its combine: from the plan's routing, or from
/// counts exchanged at run time. Indices are those within the expert group; empty where they do not matter.
struct ExchangeRows {
  std::vector<std::int64_t> to;    // as source, to each host
  std::vector<std::int64_t> from;  // as host, from each source
  // Where a token is sent once per node, the above are the rows of leaving and of arriving (direct), and these are:
  std::vector<std::int64_t> passed_to;    // passing
  std::vector<std::int64_t> passed_from;  // arriving (forwarded)
};

/// Of a rank's tables, as they are now; empty if the op is no dispatch or combine.
ExchangeRows rows_of(const RowTables& tables, const plan::Op& op, std::int64_t routed_step);

class NcclLowering {
 public:
  /// Keeps a reference.
  explicit NcclLowering(const plan::Plan& plan);

  [[nodiscard]] const std::vector<NcclFamily>& families() const { return families_; }
  /// @param op   a communication of the rank's role
  /// @param rows of dispatch and combine, useful ones; else empty
  [[nodiscard]] NcclOperation operation(RankId rank, const plan::Op& op, const ExchangeRows& rows = {}) const;

 private:
  void add_group(GroupId group, plan::Stream stream);
  void add_link(RankId sender, const plan::TransferOp& transfer);
  [[nodiscard]] NcclOperation collective(const plan::Op& op) const;
  [[nodiscard]] NcclOperation exchange(RankId rank, const plan::Op& op, const ExchangeRows& rows) const;
  [[nodiscard]] NcclOperation exchange_once_per_node(RankId rank, const plan::Op& op, const ExchangeRows& rows) const;
  [[nodiscard]] NcclOperation transfer(RankId rank, const plan::Op& op) const;
  [[nodiscard]] bool all_to_all(const plan::Communication& communication) const;

  const plan::Plan& plan_;
  std::vector<NcclFamily> families_;
  std::map<std::pair<GroupId, plan::Stream>, std::int32_t> family_of_group_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int32_t> family_of_link_;  // (stage of sender, peer offset)
};

}  // namespace foretoken::runtime
