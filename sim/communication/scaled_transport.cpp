#include "sim/communication/scaled_transport.hpp"

namespace foretoken::sim {
namespace {

Footprint scaled(Footprint footprint, double factor) {
  footprint.latency = footprint.latency * factor;
  footprint.demand *= factor;
  return footprint;
}

}  // namespace

Footprint ScaledTransport::collective(CollectiveOp op, CollectiveAlgorithm algorithm, std::span<const RankId> members,
                                      Bytes bytes) const {
  const Footprint footprint = transport_.collective(op, algorithm, members, bytes);
  return scaled(footprint, factor_(name_of(op), footprint.provenance));
}

Footprint ScaledTransport::transfer(RankId from, RankId to, Bytes bytes) const {
  const Footprint footprint = transport_.transfer(from, to, bytes);
  return scaled(footprint, factor_("send", footprint.provenance));
}

ExchangeTraits ScaledTransport::exchange(ExchangeOp op, std::span<const RankId> participants,
                                         std::span<const ExchangeMessage> messages, std::int64_t experts,
                                         Bytes sent_max, ExchangeUnits units) const {
  ExchangeTraits traits = transport_.exchange(op, participants, messages, experts, sent_max, units);
  const double factor = factor_(op == ExchangeOp::dispatch ? "dispatch" : "combine", traits.provenance);
  traits.latency = traits.latency * factor;
  traits.stretch *= factor;
  return traits;
}

}  // namespace foretoken::sim
