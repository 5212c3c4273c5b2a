// A transport on which communication takes longer or shorter, by kind of op.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/provenance.hpp"
#include "core/units.hpp"
#include "sim/communication/transport.hpp"
#include "sim/time_factor.hpp"

namespace foretoken::sim {

/// As the transport beneath it, but latencies and demands are stretched by the op's factor: alone, it takes that many
/// times as long; in company it takes its shares of links for so much longer too. CPU times of communication stay.
class ScaledTransport final : public Transport {
 public:
  /// Both are kept by reference.
  ScaledTransport(const Transport& transport, const TimeFactor& factor) : transport_(transport), factor_(factor) {}

  [[nodiscard]] double stretch(std::string_view kind, Provenance provenance) const override {
    return factor_(kind, provenance);
  }

  // All else as beneath.
  [[nodiscard]] std::vector<double> capacities() const override { return transport_.capacities(); }
  [[nodiscard]] std::vector<LinkResource> link_resources() const override { return transport_.link_resources(); }
  [[nodiscard]] Footprint collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                     Bytes bytes) const override {
    return transport_.collective(op, algorithm, members, bytes);
  }
  [[nodiscard]] Footprint transfer(RankId from, RankId to, Bytes bytes) const override {
    return transport_.transfer(from, to, bytes);
  }
  [[nodiscard]] ExchangeTraits exchange(ExchangeOp op, std::span<const RankId> participants,
                                        std::span<const ExchangeMessage> messages, std::int64_t experts, Bytes sent_max,
                                        ExchangeUnits units) const override {
    return transport_.exchange(op, participants, messages, experts, sent_max, units);
  }
  [[nodiscard]] Seconds next_round(std::span<const RankId> participants,
                                   std::span<const ExchangeMessage> messages) const override {
    return transport_.next_round(participants, messages);
  }
  [[nodiscard]] MessageLoad message(ExchangeOp op, RankId from, RankId to, Bytes bytes,
                                    std::vector<ResourceUse>& uses) const override {
    return transport_.message(op, from, to, bytes, uses);
  }
  double compute_uses(RankId rank, const Estimate& estimate, std::vector<ResourceUse>& uses) const override {
    return transport_.compute_uses(rank, estimate, uses);
  }
  [[nodiscard]] bool copies_in_place() const override { return transport_.copies_in_place(); }
  [[nodiscard]] Seconds compute_cpu(const Estimate& estimate) const override {
    return transport_.compute_cpu(estimate);
  }
  [[nodiscard]] Seconds exchange_cpu(std::int64_t rounds, std::int64_t messages, Bytes bytes,
                                     Bytes copied) const override {
    return transport_.exchange_cpu(rounds, messages, bytes, copied);
  }
  [[nodiscard]] bool has_cpu_times() const override { return transport_.has_cpu_times(); }

 private:
  const Transport& transport_;
  const TimeFactor& factor_;
};

}  // namespace foretoken::sim
