#include "plan/routing/routing_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.hpp"
#include "core/json_reader.hpp"
#include "core/schema_header.hpp"
#include "plan/program/text.hpp"
#include "plan/scenario/limits.hpp"

namespace foretoken::plan {
namespace {

// A token's experts are there, and distinct.
bool possible(std::span<const std::int32_t> chosen, std::int64_t experts) {
  for (auto one = chosen.begin(); one != chosen.end(); ++one)
    if (*one < 0 || *one >= experts || std::find(chosen.begin(), one, *one) != one) return false;
  return true;
}

}  // namespace

std::span<const std::int32_t> RoutingRecord::experts_of(std::int64_t step, std::int64_t layer,
                                                        std::int64_t token) const {
  FORETOKEN_CHECK(layer >= dense_layers && layer < layers, "no experts are recorded of this layer");
  FORETOKEN_CHECK(step >= 0 && step < routed_steps && token >= 0 && token < tokens,
                  "nothing is recorded of this token");
  return std::span(choices).subspan(place(step, layer, token), static_cast<std::size_t>(top_k));
}

void RoutingRecord::seal() {
  FORETOKEN_CHECK(choices.size() == place(routed_steps, dense_layers, 0), "a record that is not whole");
  for (std::size_t at = 0; at < choices.size(); at += static_cast<std::size_t>(top_k))
    FORETOKEN_CHECK(possible(std::span(choices).subspan(at, static_cast<std::size_t>(top_k)), experts),
                    "a token with an expert that is not there, or twice");
  hash = hash_of(std::string(reinterpret_cast<const char*>(choices.data()), choices.size() * sizeof choices.front()));
}

RoutingRecord read_routing_record(const std::filesystem::path& path) {
  const JsonDocument document = JsonDocument::from_file(path);
  JsonObject root(document.root());
  read_schema_header(root, "routing", 1);
  RoutingRecord record;
  record.seed =
      static_cast<std::uint64_t>(root.require("seed").as_integer(0, std::numeric_limits<std::int64_t>::max()));
  record.routed_steps = root.require("routed_steps").as_integer(1, kRoutedStepsMax);
  record.layers = root.require("layers").as_integer(1, kLayersMax);
  record.dense_layers = root.require("dense_layers").as_integer(0, record.layers);
  record.tokens = root.require("tokens").as_integer(1, kSequencesMax);
  record.experts = root.require("experts").as_integer(1, kExpertsMax);
  record.top_k = root.require("top_k").as_integer(1, record.experts);
  const auto steps = static_cast<std::size_t>(record.routed_steps);
  const auto layers = static_cast<std::size_t>(record.layers);
  for (const JsonReader& step : root.require("choices").as_array(steps, steps)) {
    std::int64_t layer = 0;
    for (const JsonReader& of_layer : step.as_array(layers, layers)) {
      const bool dense = layer++ < record.dense_layers;
      const auto size = dense ? 0 : static_cast<std::size_t>(record.tokens * record.top_k);
      for (const std::int64_t expert : of_layer.as_integers(size, size, 0, record.experts - 1))
        record.choices.push_back(static_cast<std::int32_t>(expert));
      const auto added = std::span(record.choices).last(size);
      for (std::size_t at = 0; at < size; at += static_cast<std::size_t>(record.top_k))
        if (!possible(added.subspan(at, static_cast<std::size_t>(record.top_k)), record.experts))
          of_layer.fail(fmt::format("token {} visits an expert twice", at / static_cast<std::size_t>(record.top_k)),
                        "a token goes to distinct experts");
    }
  }
  root.finish();
  record.seal();
  return record;
}

std::string text_of(const RoutingRecord& record) {
  auto choices = nlohmann::ordered_json::array();
  for (std::int64_t step = 0; step < record.routed_steps; ++step) {
    auto of_step = nlohmann::ordered_json::array();
    for (std::int64_t layer = 0; layer < record.layers; ++layer) {
      if (layer < record.dense_layers) {
        of_step.push_back(nlohmann::ordered_json::array());
        continue;
      }
      const auto begin = record.choices.begin() + static_cast<std::ptrdiff_t>(record.place(step, layer, 0));
      of_step.push_back(std::vector<std::int32_t>(begin, begin + record.tokens * record.top_k));
    }
    choices.push_back(std::move(of_step));
  }
  const nlohmann::ordered_json json{{"schema_version", 1},     {"kind", "routing"},
                                    {"seed", record.seed},     {"routed_steps", record.routed_steps},
                                    {"layers", record.layers}, {"dense_layers", record.dense_layers},
                                    {"tokens", record.tokens}, {"experts", record.experts},
                                    {"top_k", record.top_k},   {"choices", std::move(choices)}};
  return json.dump() + "\n";
}

}  // namespace foretoken::plan
