// Where routed rows are and go, on one rank's GPU: tables in device memory, as the plan knows them or as kernels find
// them out, and messages with slots.
//
// Who knows how many rows there are:
//
//   the plan      routing known, dispatch_mode planned: tables are copied once, launches have exact sizes
//   … and checks  routing known, capacity: launches have the plan's sizes; rows go where the headers say that they do,
//                 and after the run those must have said what the plan says
//   the host      exact: it waits for counts within the step, and then knows all sizes
//   the device    the model's own router decides, with capacity or all_reduce: launches have the size of the worst
//                 routing, and kernels leave off where the device's count ends
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "plan/plan.hpp"
#include "runtime/cuda/device/device_array.hpp"
#include "runtime/cuda/device/kernels.hpp"
#include "runtime/cuda/index_tables.hpp"
#include "runtime/row_tables.hpp"

namespace foretoken::runtime::cuda {

class RoutedRows {
 public:
  /// Copies tables to the current device. Keeps references to plan and tables.
  RoutedRows(const plan::Plan& plan, RankId rank, RowTables& tables);

  /// Of an op's extent.
  [[nodiscard]] Rows rows(const plan::Op& op, const plan::Extent& extent, std::int64_t routed_step);
  /// The most rows of any expert here: in this step, or in any if only the device knows.
  [[nodiscard]] std::int64_t rows_of_expert(const plan::Extent& extent, std::int64_t routed_step);
  /// As the host knows them. @param extent of experts' rows
  [[nodiscard]] std::span<const std::int64_t> rows_of_each(const plan::Extent& extent, std::int64_t routed_step) const;

  // Tables in device memory: see IndexTables.
  [[nodiscard]] const std::int32_t* selected(const plan::Op& op, std::int64_t routed_step) const;
  [[nodiscard]] const std::int32_t* row_of(const plan::Op& op, std::int64_t routed_step) const;
  [[nodiscard]] const std::int32_t* counts(const plan::Op& op, std::int64_t routed_step) const;
  [[nodiscard]] const std::int32_t* sorted(const plan::Op& op, std::int64_t routed_step) const;
  [[nodiscard]] const std::int32_t* expert_rows(const plan::Op& op, std::int64_t routed_step) const;
  /// Planned experts for the router; null: it decides.
  [[nodiscard]] const std::int32_t* chosen(const plan::Op& op, std::int64_t routed_step) const;

  /// The router has decided: numbers the rows. @param routes of the route op
  void decided(const plan::Op& route, std::int64_t routed_step, const float* routes, cudaStream_t stream);

  /// Puts rows, and before them their counts, into the slots of messages that leave. @param slots message_slots()
  void fill(const plan::Op& op, std::int64_t routed_step, Slots slots, Queue queue, const std::byte* in,
            std::byte* leaving);
  /// Takes what has come out of its slots; of a dispatch, after the counts.
  void empty(const plan::Op& op, std::int64_t routed_step, Slots slots, Queue queue, const std::byte* coming,
             std::byte* out);

  /// Behind an exchange of counts: orders what will come, and copies the counts to the host, without waiting.
  /// @param counted  the op's output; null if there are no experts here
  void take_counts(const plan::Op& op, std::int64_t routed_step, const std::byte* counted, cudaStream_t stream);
  /// Tells the host's tables, once those copies have ended. @param op any of the layer and micro-batch
  void learn(const plan::Op& op, std::int64_t routed_step);

  /// Tells the host's tables what the router has decided in every routed step. Waits for the device.
  void learn_routes();
  /// @throws Error{rank_failed} if the headers of some message told other counts than the plan. Waits for the device.
  void require_planned_arrivals() const;

 private:
  [[nodiscard]] std::int32_t* at(std::size_t offset) const { return memory_.data() + offset; }
  [[nodiscard]] std::size_t choices(const plan::Op& op) const;

  const plan::Plan& plan_;
  RankId rank_;
  RowTables& tables_;
  bool known_;         // the plan knows the routing
  bool device_knows_;  // and nobody else
  IndexTables indices_;
  DeviceArray<std::int32_t> memory_;
  PinnedArray<std::int32_t> told_;  // counts that came and experts that were chosen, of every exchange of counts
  std::map<std::pair<std::int16_t, std::int16_t>, std::size_t> told_at_;  // (layer, micro-batch)
  std::map<plan::Extent, std::int64_t> rows_max_;
  std::map<plan::Extent, std::int64_t> rows_of_expert_max_;
};

}  // namespace foretoken::runtime::cuda
