// A communication op as calls of NCCL: what one rank posts as one group, with exact counts.
//
// Both ends of every message, and all members of every collective, work theirs out from the plan alone; that they agree
// is tested for whole programs without a GPU. Nothing here needs NCCL.
//
//   all_reduce                   ncclAllReduce
//   all_gather, reduce_scatter   ncclAllGather, ncclReduceScatter; where slices differ by a row, one ncclBroadcast or
//                                ncclReduce per member, in one group
//   dispatch, combine            a group of ncclSend and ncclRecv, and a copy of what stays
//   send, recv                   ncclSend, ncclRecv
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/channels.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

enum class NcclVerb : std::uint8_t { all_reduce, all_gather, reduce_scatter, broadcast, reduce, send, receive };

struct NcclCall {
  NcclVerb verb = NcclVerb::all_reduce;
  std::size_t in_offset = 0;   // bytes into the op's input
  std::size_t out_offset = 0;  // bytes into its output
  std::int64_t count = 0;      // elements, as NCCL counts them for this verb: of a slice, or of all
  std::int64_t peer = -1;      // place in the channel: of the other end, or of the root
  bool operator==(const NcclCall&) const = default;
};

struct LocalCopy {
  std::size_t in_offset = 0;
  std::size_t out_offset = 0;
  std::size_t bytes = 0;
  bool operator==(const LocalCopy&) const = default;
};

struct NcclGroup {
  std::int64_t channel = -1;
  DType dtype = DType::fp16;
  std::vector<NcclCall> calls;
  std::vector<LocalCopy> copies;
};

/// @param routed_step matters to dispatch and combine alone
/// @throws Error{invalid_input} if NCCL has not what the plan names: the message says what to --set
NcclGroup nccl_calls(const plan::Plan& plan, RankId rank, const RowTables& tables, const Channels& channels,
                     const plan::Op& op, std::int64_t routed_step);

}  // namespace foretoken::runtime::cuda
