// Dispatch and combine as messages: one per (source, host) pair with rows, with its size; in rounds where the rows say
// so.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
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
  /// >= 1
  [[nodiscard]] std::int32_t rounds() const { return static_cast<std::int32_t>(latencies_.size()); }
  [[nodiscard]] Seconds latency(std::int32_t round) const { return latencies_[static_cast<std::size_t>(round)]; }
  [[nodiscard]] Provenance provenance() const { return provenance_; }
  /// What the demand of its messages is multiplied by.
  [[nodiscard]] double stretch() const { return stretch_; }
  /// CPU time of a participant, where ranks are threads.
  [[nodiscard]] Seconds cpu(std::int32_t participant) const { return cpu_[static_cast<std::size_t>(participant)]; }

 private:
  void find_latencies(const Transport& transport, std::string_view kind, const std::vector<RankId>& ranks,
                      std::int64_t experts, Bytes sent_max, ExchangeUnits units);
  void find_cpu_times(const Transport& transport);

  sim::ExchangeOp op_;
  std::vector<Seconds> latencies_;  // [round]
  Provenance provenance_ = Provenance::measured;
  double stretch_ = 1;
  std::vector<ExchangeMessage> messages_;
  std::vector<std::int32_t> begin_;  // [participant] -> offset into of_participant_
  std::vector<std::int32_t> of_participant_;
  std::vector<Seconds> cpu_;  // [participant]
};

}  // namespace foretoken::sim
