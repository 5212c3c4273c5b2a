#include "calibrate/fit/moe_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/import/csv_table.hpp"
#include "core/error.hpp"
#include "sim/moe_module.hpp"

namespace foretoken::calibrate {

namespace {

// From the models' published config.json files.
struct MoeModel {
  std::string_view name;
  std::int64_t hidden, expert_hidden, experts, top_k;
};
constexpr std::array<MoeModel, 2> kModels{{{"Mixtral-8x7B", 4096, 14336, 8, 2}, {"Qwen3-30B-A3B", 2048, 768, 128, 8}}};

const MoeModel& model_of(const MoeLayoutSample& sample) {
  const auto* const model =
      std::find_if(kModels.begin(), kModels.end(), [&](const MoeModel& known) { return known.name == sample.model; });
  if (model == kModels.end())
    throw input_error("", "", fmt::format("model \"{}\" is unknown", sample.model),
                      "add its dimensions to moe_check.cpp");
  return *model;
}

}  // namespace

std::vector<MoeLayoutSample> read_moe_layouts(const std::filesystem::path& path) {
  enum Column : std::size_t { framework, model, moe_dtype, num_tokens, moe_tp, moe_ep, distribution, latency_ms, flag };
  static constexpr std::array<std::string_view, 9> names{
      "framework", "model", "moe_dtype", "num_tokens", "moe_tp", "moe_ep", "distribution", "latency_ms", "flag"};
  constexpr std::int64_t dimension_max = 1 << 20;
  const CsvTable table = CsvTable::from_file(path, names);
  std::vector<MoeLayoutSample> out;
  for (std::size_t row = 0; row < table.size(); ++row) {
    MoeLayoutSample sample;
    sample.framework = table.text(row, framework);
    sample.model = table.text(row, model);
    sample.tokens = table.integer(row, num_tokens, 1, dimension_max);
    sample.tp = table.integer(row, moe_tp, 1, dimension_max);
    sample.ep = table.integer(row, moe_ep, 1, dimension_max);
    sample.time = Seconds(table.number(row, latency_ms, 1e-6, 1e9) * 1e-3);
    const std::string& dtype = table.text(row, moe_dtype);
    if (dtype != "bfloat16" && dtype != "fp8" && dtype != "fp8_block")
      table.fail(row, moe_dtype, "write bfloat16, fp8 or fp8_block");
    sample.dtype = dtype == "bfloat16" ? DType::bf16 : DType::fp8;
    if (dtype != "fp8_block" && table.text(row, distribution) == "balanced" && table.text(row, flag).empty())
      out.push_back(std::move(sample));
  }
  return out;
}

std::vector<std::int64_t> balanced_rows(const MoeLayoutSample& sample) {
  const MoeModel& model = model_of(sample);
  const std::int64_t stride = model.experts / model.top_k;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(std::max<std::int64_t>(1, model.experts / sample.ep)));
  for (std::int64_t t = 0; t < sample.tokens; ++t) {
    const std::int64_t first = sample.tokens >= stride ? t : t * stride / sample.tokens;
    for (std::int64_t i = 0; i < model.top_k; ++i) {
      const auto expert = static_cast<std::size_t>((first + i * stride) % model.experts);
      if (expert < rows.size()) ++rows[expert];
    }
  }
  return rows;
}

Seconds moe_layer_time(const sim::ComputeCost& cost, const MoeLayoutSample& sample) {
  const MoeModel& model = model_of(sample);
  return sim::moe_module(cost,
                         {sample.tokens, model.hidden, model.expert_hidden / sample.tp, model.experts, model.top_k,
                          sample.dtype, true},
                         balanced_rows(sample))
      .time;
}

HeldOut check_moe(const sim::ComputeCost& cost, std::span<const MoeLayoutSample> samples) {
  std::vector<double> errors;
  for (const MoeLayoutSample& sample : samples) {
    const std::vector<std::int64_t> rows = balanced_rows(sample);
    if (std::all_of(rows.begin(), rows.end(), [](std::int64_t r) { return r == 0; })) continue;
    errors.push_back(ratio(moe_layer_time(cost, sample), sample.time) - 1);
  }
  return held_out_statistics(std::move(errors));
}

}  // namespace foretoken::calibrate
