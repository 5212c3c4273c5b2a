// Dispatch and combine as messages: one per (source, host) pair with rows, with its size.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/units.hpp"
#include "plan/program/resolve.hpp"
#include "sim/communication/meetings.hpp"
#include "sim/communication/transport.hpp"

namespace foretoken::sim {

/// The messages of one meeting in one routed step.
class ExchangePattern {
 public:
  /// Dispatch sends rows from source to host, combine the other way. Rows whose source is their host are copied in
  /// place: no message, unless that takes time on this transport.
  ///
  /// @param rows of this layer, micro-batch, chunk, group instance and routed step
  ExchangePattern(const plan::Program& program, const Transport& transport, const Meeting& meeting,
                  const plan::RoutedRows& rows);

  [[nodiscard]] const ExchangeMessage& message(std::int32_t index) const {
    return messages_[static_cast<std::size_t>(index)];
  }
  /// Messages that a participant sends or receives.
  [[nodiscard]] std::span<const std::int32_t> messages_of(std::int32_t participant) const;
  [[nodiscard]] std::size_t participants() const { return begin_.size() - 1; }
  [[nodiscard]] sim::ExchangeOp op() const { return op_; }
  [[nodiscard]] Seconds latency() const { return latency_; }
  [[nodiscard]] Provenance provenance() const { return provenance_; }
  /// CPU time of a participant, where ranks are threads.
  [[nodiscard]] Seconds cpu(std::int32_t participant) const { return cpu_[static_cast<std::size_t>(participant)]; }

 private:
  void find_cpu_times(const Transport& transport);

  sim::ExchangeOp op_;
  Seconds latency_{};
  Provenance provenance_ = Provenance::measured;
  std::vector<ExchangeMessage> messages_;
  std::vector<std::int32_t> begin_;  // [participant] -> offset into of_participant_
  std::vector<std::int32_t> of_participant_;
  std::vector<Seconds> cpu_;  // [participant]
};

}  // namespace foretoken::sim
