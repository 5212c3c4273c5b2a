// What a rank's GPU does beside the messages of a dispatch or combine whose tokens go once per node: node_tables.hpp,
// as kernels on a stream.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan/plan.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/node_tables.hpp"

namespace foretoken::runtime::cuda {

/// An op's ends, and the staging buffers that its calls' offsets are counted from. What the op does not have is null.
struct NodeBuffers {
  const std::byte* in = nullptr;      // dispatch: tokens; combine: rows of experts
  const float* in_weights = nullptr;  // dispatch: routes; combine: a weight for each row
  std::byte* out = nullptr;           // dispatch: rows of experts; combine: tokens
  float* out_weights = nullptr;       // dispatch: a weight for each row
  std::byte* leaving = nullptr;
  std::byte* coming = nullptr;
};

class OncePerNode {
 public:
  /// Copies tables to the current device; none if the plan's tokens do not go once per node. Keeps a reference.
  OncePerNode(const plan::Plan& plan, RankId rank);

  // Before the first group of an op's calls, between the two, and behind the second.
  void before(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const;
  void between(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const;
  void after(const plan::Op& op, std::int64_t routed_step, Queue queue, const NodeBuffers& buffers) const;

 private:
  [[nodiscard]] const std::int32_t* at(std::size_t offset) const { return memory_.data() + offset; }
  [[nodiscard]] NodeRow shape_of(const plan::Op& op, Queue queue) const;
  void sum(const plan::Op& op, const NodeTables::Of& of, const NodeTables::Sums& which, Queue queue,
           const NodeBuffers& buffers, std::byte* out) const;

  const plan::Plan& plan_;
  NodeTables tables_;
  DeviceArray<std::int32_t> memory_;
};

}  // namespace foretoken::runtime::cuda
