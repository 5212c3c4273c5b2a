#include "sim/communication/host_schedule_amounts.hpp"

#include "core/error.hpp"

namespace foretoken::sim {

HostTerms host_collective_amounts(CollectiveOp op, CollectiveAlgorithm algorithm, std::int64_t members, Bytes bytes) {
  FORETOKEN_CHECK(members >= 1 && (algorithm == CollectiveAlgorithm::ring || algorithm == CollectiveAlgorithm::direct),
                  "a host's collective has members, and is a ring or direct");
  const bool ring = algorithm == CollectiveAlgorithm::ring;
  const auto others = static_cast<double>(members - 1);
  const double whole = static_cast<double>(bytes.value());
  const double part = whole / static_cast<double>(members);
  const double halves = op == CollectiveOp::all_reduce ? 2 : 1;  // an all_reduce is a reduce_scatter and an all_gather

  HostTerms terms;
  terms[HostTerm::communication_ops] = 1;
  terms[HostTerm::communication_rounds] = members == 1 ? 0 : halves * (ring ? others : 1);
  terms[HostTerm::communication_messages] = halves * 2 * others;
  terms[HostTerm::communication_bytes] = halves * 2 * others * part;
  terms[HostTerm::communication_added] = op == CollectiveOp::all_gather ? 0 : others * part;
  // A ring sums in a copy of the buffer: in the output, where that has room for all of it.
  double copied = part;
  if (ring && op == CollectiveOp::all_reduce) copied = whole;
  if (ring && op == CollectiveOp::reduce_scatter) copied = whole + part;
  terms[HostTerm::communication_copied] = copied;
  return terms;
}

HostTerms host_transfer_amounts(Bytes bytes) { return host_exchange_amounts(1, bytes, Bytes(0)); }

HostTerms host_exchange_amounts(std::int64_t messages, Bytes bytes, Bytes copied, std::int64_t rounds) {
  HostTerms terms;
  terms[HostTerm::communication_ops] = 1;
  terms[HostTerm::communication_rounds] = messages > 0 ? static_cast<double>(rounds) : 0;
  terms[HostTerm::communication_messages] = static_cast<double>(messages);
  terms[HostTerm::communication_bytes] = static_cast<double>(bytes.value());
  terms[HostTerm::communication_copied] = static_cast<double>(copied.value());
  return terms;
}

}  // namespace foretoken::sim
