#include "plan/routing/expert_counts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>

#include "core/json_reader.hpp"
#include "plan/program/text.hpp"
#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

constexpr std::int64_t kVisitsMax = std::int64_t{1} << 38;  // of an expert: 4,096 of them times top_k fit 64 bits

/// The model's layer of each of `rows` rows.
std::vector<std::int64_t> layers_of(const JsonReader& place, const std::optional<JsonReader>& named, std::size_t rows,
                                    const ModelSpec& model) {
  std::vector<std::int64_t> all;
  if (named) {
    all = named->as_integers(rows, rows, 0, model.layers - 1);
    std::vector<std::int64_t> sorted = all;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) named->fail(fmt::format("layer {} is named twice", *twice), "name each row's layer");
    for (std::int64_t layer = 0; layer < model.layers; ++layer)
      if (!model.dense(layer) && !std::binary_search(sorted.begin(), sorted.end(), layer))
        named->fail(fmt::format("layer {} of the model has experts and no row", layer), "count visits in all of them");
    return all;
  }
  const bool whole = static_cast<std::int64_t>(rows) == model.layers;
  for (std::int64_t layer = 0; layer < model.layers; ++layer)
    if (whole || !model.dense(layer)) all.push_back(layer);
  if (all.size() != rows)
    place.fail(fmt::format("there are {} rows, and the model has {} layers, {} of them with experts", rows,
                           model.layers, all.size()),
               "add \"layers\", the layer of each row");
  return all;
}

/// Whether tokens that each visit `top_k` distinct experts can have left these visits.
void check_possible(const JsonReader& row, std::span<const std::uint64_t> visits, const ModelSpec& model) {
  const std::uint64_t total = std::accumulate(visits.begin(), visits.end(), std::uint64_t{0});
  if (total == 0) row.fail("nobody visited an expert", "every layer with experts needs visits");
  for (std::size_t expert = 0; expert < visits.size(); ++expert)
    if (visits[expert] * static_cast<std::uint64_t>(model.top_k) > total)
      row.fail(fmt::format("expert {} has {} of {} visits, and a token visits {} distinct ones", expert, visits[expert],
                           total, model.top_k),
               fmt::format("at most one visit in {} goes to one expert; is top_k right?", model.top_k));
}

void add_row(ExpertCounts& counts, const JsonReader& row, std::int64_t sample, std::int64_t layer,
             const ModelSpec& model) {
  const auto size = static_cast<std::size_t>(model.experts);
  const std::vector<std::int64_t> read = row.as_integers(size, size, 0, kVisitsMax);
  if (model.dense(layer)) return;
  const auto place =
      counts.visits.begin() + static_cast<std::ptrdiff_t>((sample * counts.layers + layer) * counts.experts);
  std::copy(read.begin(), read.end(), place);
  check_possible(row, counts.of(sample, layer), model);
}

void read_logical_count(ExpertCounts& counts, const JsonReader& place, const std::optional<JsonReader>& named,
                        const ModelSpec& model) {
  const std::vector<JsonReader> outer = place.as_array(1, static_cast<std::size_t>(kLayersMax));
  const bool samples =
      !outer.front().as_array(1, kExpertsMax).empty() && outer.front().as_array(1, kExpertsMax)[0].is_array();
  counts.steps = samples ? static_cast<std::int64_t>(outer.size()) : 1;
  counts.visits.resize(static_cast<std::size_t>(counts.steps * counts.layers * counts.experts));
  std::int64_t sample = 0;
  const auto read_sample = [&](const JsonReader& at, const std::vector<JsonReader>& rows) {
    const std::vector<std::int64_t> layers = layers_of(at, named, rows.size(), model);
    for (std::size_t r = 0; r < rows.size(); ++r) add_row(counts, rows[r], sample, layers[r], model);
    ++sample;
  };
  if (!samples) read_sample(place, outer);
  else
    for (const JsonReader& one : outer) read_sample(one, one.as_array(1, static_cast<std::size_t>(kLayersMax)));
}

void read_routed_experts(ExpertCounts& counts, const JsonReader& place, const std::optional<JsonReader>& named,
                         const ModelSpec& model) {
  counts.steps = 1;
  counts.visits.resize(static_cast<std::size_t>(counts.layers * counts.experts));
  const auto top_k = static_cast<std::size_t>(model.top_k);
  for (const JsonReader& token : place.as_array(1, static_cast<std::size_t>(kSequencesMax))) {
    const std::vector<JsonReader> rows = token.as_array(1, static_cast<std::size_t>(kLayersMax));
    const std::vector<std::int64_t> layers = layers_of(token, named, rows.size(), model);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const std::vector<std::int64_t> chosen = rows[r].as_integers(top_k, top_k, 0, model.experts - 1);
      for (auto one = chosen.begin(); one != chosen.end(); ++one) {
        if (std::find(chosen.begin(), one, *one) != one)
          rows[r].fail(fmt::format("expert {} is visited twice", *one), "a token goes to distinct experts");
        ++counts.visits[static_cast<std::size_t>(layers[r] * counts.experts + *one)];
      }
    }
  }
}

}  // namespace

ExpertCounts read_expert_counts(const std::filesystem::path& path, const ModelSpec& model) {
  const JsonDocument document = JsonDocument::from_file(path);
  JsonObject root(document.root());
  ExpertCounts counts;
  counts.layers = model.layers;
  counts.experts = model.experts;
  const auto logical = root.optional("logical_count");
  const auto routed = root.optional("routed_experts");
  const auto layers = root.optional("layers");
  if (logical.has_value() == routed.has_value())
    root.place().fail(logical ? "there are both logical_count and routed_experts" : "there are no counts in it",
                      "write one of logical_count and routed_experts");
  if (logical) read_logical_count(counts, *logical, layers, model);
  else read_routed_experts(counts, *routed, layers, model);
  std::string bytes = fmt::format("{} {} {}\n", counts.steps, counts.layers, counts.experts);
  for (const std::uint64_t visits : counts.visits) bytes += fmt::format("{} ", visits);
  counts.hash = hash_of(bytes);
  return counts;
}

}  // namespace foretoken::plan
