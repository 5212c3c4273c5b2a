#include "sim/cost/roofline.hpp"

#include <algorithm>
#include <cmath>

#include "core/numbers.hpp"

namespace foretoken::sim {

namespace {

// Seconds to move `bytes`, of which `share` comes from L2.
double move(double bytes, double share, const MachineRates& rates) {
  return bytes * (share / rates.l2.value() + (1 - share) / rates.memory.value());
}

double weight_bytes(const GemmShape& shape) {
  const double each = shape.weight_bytes > 0 ? shape.weight_bytes : as_double(shape.element_bytes);
  return each * as_double(shape.n) * as_double(shape.k);
}

double gemm_flops(const GemmShape& shape) { return 2 * as_double(shape.m) * as_double(shape.n) * as_double(shape.k); }

constexpr double kQueryTile = 128;  // rows of queries per thread block in the fused attention kernels

}  // namespace

MachineRates machine_rates(const DeviceSpec& device, const L2Fit& l2, FlopsPerSecond peak) {
  MachineRates rates;
  rates.memory = device.memory_bandwidth;
  rates.peak = peak;
  rates.l2 = l2.bandwidth;
  rates.l2_hits_all_below = as_double(l2.hits_all_below.value());
  rates.l2_hits_none_above = as_double(l2.hits_none_above.value());
  rates.sms = device.sms;
  return rates;
}

double l2_share(double bytes, const MachineRates& rates) {
  return std::clamp((rates.l2_hits_none_above - bytes) / (rates.l2_hits_none_above - rates.l2_hits_all_below), 0.0,
                    1.0);
}

Seconds gemm_roofline(const GemmShape& shape, const MachineRates& rates) {
  const double result_bytes = as_double(std::max<std::int64_t>(shape.element_bytes, 2));
  const double activations = as_double(shape.element_bytes) * as_double(shape.m) * as_double(shape.k) +
                             result_bytes * as_double(shape.m) * as_double(shape.n);
  const double memory =
      weight_bytes(shape) / rates.memory.value() + move(activations, l2_share(activations, rates), rates);
  const double math = gemm_flops(shape) / rates.peak.value();
  return Seconds(std::sqrt(memory * memory + math * math));
}

std::int64_t value_dim(const AttentionShape& shape) { return shape.value_dim > 0 ? shape.value_dim : shape.head_dim; }

double kv_elements(const AttentionShape& shape) {
  return as_double(shape.head_dim) + (shape.latent ? 0.0 : as_double(value_dim(shape)));
}

Seconds gemm_lower_bound(const GemmShape& shape, const MachineRates& rates) {
  return Seconds(std::max(weight_bytes(shape) / rates.memory.value(), gemm_flops(shape) / rates.peak.value()));
}

namespace {

struct AttentionWork {
  double cached = 0;  // bytes of K and V that earlier steps wrote
  double fresh = 0;   // bytes of new K and V, queries and results
  double flops = 0;
};

AttentionWork attention_work(const AttentionShape& shape) {
  const double batch = as_double(shape.batch), query = as_double(shape.query), dim = as_double(shape.head_dim);
  const double older = as_double(shape.context) - query;
  const double score_and_sum = dim + as_double(value_dim(shape));
  const double kv_token = as_double(bytes_per_element(shape.kv_dtype)) * as_double(shape.kv_heads) * kv_elements(shape);
  const double row = as_double(bytes_per_element(shape.dtype)) * as_double(shape.heads) * score_and_sum;
  const double attended = query * older + query * (query + 1) / 2;
  return {batch * older * kv_token, batch * query * (kv_token + row),
          2 * score_and_sum * as_double(shape.heads) * batch * attended};
}

}  // namespace

Seconds attention_roofline(AttentionPhase phase, const AttentionShape& shape, Seconds per_item,
                           const MachineRates& rates) {
  const AttentionWork work = attention_work(shape);
  const double share = l2_share(work.cached + work.fresh, rates);
  const double memory =
      move(work.cached, shape.kv == Residency::cold ? 0.0 : share, rates) + move(work.fresh, share, rates);
  const double math = work.flops / rates.peak.value();
  const double batch = as_double(shape.batch);
  const double items = phase == AttentionPhase::decode
                           ? batch * as_double(shape.kv_heads)
                           : batch * as_double(shape.heads) * std::ceil(as_double(shape.query) / kQueryTile);
  const double occupancy = items / rates.sms * per_item.value();
  const double largest = std::max({memory, math, occupancy});
  if (!(largest > 0)) return Seconds(0);
  // Scaled by the largest term, so that the fourth powers of nanoseconds stay far from underflow.
  const auto fourth = [largest](double t) {
    const double scaled = t / largest;
    return scaled * scaled * scaled * scaled;
  };
  return Seconds(largest * std::sqrt(std::sqrt(fourth(memory) + fourth(math) + fourth(occupancy))));
}

Seconds attention_lower_bound(const AttentionShape& shape, const MachineRates& rates) {
  const AttentionWork work = attention_work(shape);
  const double from_hbm = shape.kv == Residency::cold ? work.cached : 0.0;
  return Seconds(std::max(from_hbm / rates.memory.value(), work.flops / rates.peak.value()));
}

}  // namespace foretoken::sim
