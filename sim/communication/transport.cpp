#include "sim/communication/transport.hpp"

#include "core/error.hpp"

namespace foretoken::sim {

double Transport::compute_uses(RankId, const Estimate&, std::vector<ResourceUse>&) const {
  FORETOKEN_CHECK(false, "nothing is shared among the kernels of different GPUs");
}
double Transport::stretch(std::string_view, Provenance) const { return 1; }
Seconds Transport::compute_cpu(const Estimate&) const { return Seconds(0); }
Seconds Transport::exchange_cpu(std::int64_t, std::int64_t, Bytes, Bytes) const { return Seconds(0); }
Seconds Transport::next_round(std::span<const RankId>, std::span<const ExchangeMessage>) const { return Seconds(0); }

}  // namespace foretoken::sim
