#include "calibrate/fit/attention_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/lattice_fit.hpp"
#include "core/error.hpp"
#include "sim/cost/attention_cost.hpp"

namespace foretoken::calibrate {

namespace {

constexpr std::array<double, 7> kItemKnots{2, 4, 6, 8, 10, 12, 14};
// log2(context x head_dim) in decode, log2(query) in prefill: split-KV and tile choices change with every doubling.
constexpr std::array<double, 24> kLengthKnots{1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                                              13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24};
constexpr double kAttentionSmoothness = 0.1;

// Items queue up, and each is short: only then do rows show what an item costs by itself.
constexpr double kManyItems = 1024;
constexpr std::int64_t kShortTokens = 16;

sim::AttentionShape shape_of(const AttentionSample& sample) {
  return {sample.batch, sample.query,    sample.context,          sample.heads, sample.kv_heads, sample.head_dim,
          DType::bf16,  sample.kv_dtype, sim::Residency::repeated};
}

double items_of(sim::AttentionPhase phase, const AttentionSample& sample) {
  return static_cast<double>(sample.batch) *
         static_cast<double>(phase == sim::AttentionPhase::decode ? sample.kv_heads : sample.heads);
}

Seconds time_per_item(sim::AttentionPhase phase, std::span<const AttentionSample> samples, Seconds floor, int sms) {
  std::vector<double> times;
  for (const AttentionSample& sample : samples) {
    const double items = items_of(phase, sample);
    if (items >= kManyItems && sample.context <= kShortTokens && sample.time > floor)
      times.push_back((sample.time - floor).value() * sms / items);
  }
  return times.empty() ? Seconds(0) : Seconds(quantile_of(std::move(times), 0.5));
}

AttentionFit fit_to(sim::AttentionPhase phase, std::span<const AttentionSample> samples,
                    const sim::MachineRates& rates) {
  AttentionFit fit;
  fit.framework = samples.front().framework;
  fit.kv_dtype = samples.front().kv_dtype;
  std::vector<double> times;
  for (const AttentionSample& sample : samples) times.push_back(sample.time.value());
  fit.floor = kernel_floor(std::move(times));
  fit.per_item = time_per_item(phase, samples, fit.floor, rates.sms);

  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::array<double, 2> low{infinity, infinity}, high{-infinity, -infinity};
  fit.corner_sum_max = -infinity;
  fit.group_min = std::numeric_limits<std::int64_t>::max();
  std::set<std::int64_t> head_dims;
  std::vector<LatticeSample> rows;
  for (const AttentionSample& sample : samples) {
    const sim::AttentionShape shape = shape_of(sample);
    const std::array<double, 2> x = sim::attention_coordinates(phase, shape);
    for (std::size_t d = 0; d < x.size(); ++d) {
      low[d] = std::min(low[d], x[d]);
      high[d] = std::max(high[d], x[d]);
    }
    fit.corner_sum_max = std::max(fit.corner_sum_max, x[0] + x[1]);
    fit.group_min = std::min(fit.group_min, sample.heads / sample.kv_heads);
    fit.group_max = std::max(fit.group_max, sample.heads / sample.kv_heads);
    head_dims.insert(sample.head_dim);
    const Seconds ideal = fit.floor + sim::attention_roofline(phase, shape, fit.per_item, rates);
    rows.push_back({{x[0], x[1], 0}, std::log(ratio(sample.time, ideal))});
  }
  fit.head_dims.assign(head_dims.begin(), head_dims.end());
  fit.corner_sum_max = std::ceil(fit.corner_sum_max * 1e4) / 1e4;
  const char* const second = phase == sim::AttentionPhase::decode ? "log2_item_elements" : "log2_query";
  fit.log_slowdown = fit_lattice(
      {axis_within("log2_items", kItemKnots, low[0], high[0]), axis_within(second, kLengthKnots, low[1], high[1])},
      rows, kAttentionSmoothness);
  return fit;
}

}  // namespace

JudgedFit<AttentionFit> fit_attention(sim::AttentionPhase phase, std::span<const AttentionSample> samples,
                                      const std::string& source, const sim::MachineRates& rates,
                                      const FoldOptions& folds) {
  if (samples.empty())
    throw input_error("", "", "there are no attention samples", "give a sweep over batch and context");
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, std::int64_t> group_of;
  std::vector<std::int64_t> groups;
  for (const AttentionSample& sample : samples)
    groups.push_back(
        group_of
            .try_emplace({sample.heads, sample.kv_heads, sample.head_dim}, static_cast<std::int64_t>(group_of.size()))
            .first->second);
  AttentionFit fit = fit_to(phase, samples, rates);
  fit.source = source;
  CrossValidation judged = cross_validate(
      samples, groups, folds,
      [&](std::span<const AttentionSample> seen) {
        return sim::AttentionCost(phase, fit_to(phase, seen, rates), rates);
      },
      [](const sim::AttentionCost& cost, const AttentionSample& sample) { return cost(shape_of(sample)).time; });
  fit.held_out = judged.statistics;
  return {std::move(fit), std::move(judged.errors)};
}

L2Fit fit_l2(std::span<const AttentionSample> samples, const std::string& source, const DeviceSpec& device) {
  const auto capacity = static_cast<double>(device.l2.value());
  std::map<std::pair<std::string, DType>, std::vector<double>> times;
  for (const AttentionSample& sample : samples)
    times[{sample.framework, sample.kv_dtype}].push_back(sample.time.value());
  std::map<std::pair<std::string, DType>, Seconds> floors;
  for (auto& [kernel, measured] : times) floors[kernel] = kernel_floor(std::move(measured));

  std::vector<double> rates;
  for (const AttentionSample& sample : samples) {
    const double elements = static_cast<double>(sample.batch) * static_cast<double>(sample.context) *
                            static_cast<double>(sample.kv_heads) * static_cast<double>(sample.head_dim);
    const double bytes = 2 * elements * static_cast<double>(bytes_per_element(sample.kv_dtype));
    const Seconds busy = sample.time - floors[{sample.framework, sample.kv_dtype}];
    if (bytes >= 0.4 * capacity && bytes <= 0.7 * capacity && busy > Seconds(0) &&
        items_of(sim::AttentionPhase::decode, sample) <= 2.0 * device.sms)
      rates.push_back(bytes / busy.value());
  }
  if (rates.empty())
    throw input_error("", "", "no decode sample has K and V of 40 to 70 % of L2",
                      "extend the sweep over batch and context");
  L2Fit fit;
  fit.source = source;
  fit.hits_all_below = Bytes(static_cast<std::int64_t>(0.7 * capacity));
  fit.hits_none_above = device.l2;
  fit.bandwidth = BytesPerSecond(std::round(quantile_of(std::move(rates), 0.95) / 1e9) * 1e9);
  return fit;
}

}  // namespace foretoken::calibrate
