#include "calibrate/fit/moe_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "calibrate/fit/held_out.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {

namespace {

// From the models' published config.json files.
struct MoeModel {
  std::string_view name;
  std::int64_t hidden, expert_hidden, experts, top_k;
};
constexpr std::array<MoeModel, 2> kModels{{{"Mixtral-8x7B", 4096, 14336, 8, 2}, {"Qwen3-30B-A3B", 2048, 768, 128, 8}}};

constexpr std::int64_t kElementBytes = 2;

}  // namespace

Seconds moe_layer_time(const sim::ComputeCost& cost, const MoeSample& sample) {
  const auto* const model =
      std::find_if(kModels.begin(), kModels.end(), [&](const MoeModel& known) { return known.name == sample.model; });
  if (model == kModels.end())
    throw input_error("", "", fmt::format("model \"{}\" is unknown", sample.model),
                      "add its dimensions to moe_check.cpp");
  const std::int64_t routed = sample.tokens * model->top_k;
  std::vector<std::int64_t> rows;
  for (std::int64_t e = 0; e < model->experts; ++e)
    rows.push_back(routed / model->experts + (e < routed % model->experts ? 1 : 0));
  const auto moved = [&](std::int64_t elements) { return cost.memory_bound(Bytes(kElementBytes * elements)).time; };
  const std::int64_t permuted = (sample.tokens + routed) * model->hidden;
  return moved(sample.tokens * model->experts) + moved(permuted) +
         cost.grouped_gemm(DType::bf16, rows, 2 * model->expert_hidden, model->hidden).time +
         moved(3 * routed * model->expert_hidden) +
         cost.grouped_gemm(DType::bf16, rows, model->hidden, model->expert_hidden).time + moved(permuted);
}

HeldOut check_moe(const sim::ComputeCost& cost, std::span<const MoeSample> samples) {
  std::vector<double> errors;
  for (const MoeSample& sample : samples) errors.push_back(ratio(moe_layer_time(cost, sample), sample.time) - 1);
  return held_out_statistics(std::move(errors));
}

}  // namespace foretoken::calibrate
