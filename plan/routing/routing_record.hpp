// Who went to which expert in a run whose own router decided: written by the run, read by `routing: recorded`.
//
// The file is JSON of kind "routing": seed, routed_steps, layers, dense_layers, tokens, experts, top_k, and "choices":
// per routed step, per layer (dense ones: an empty array), the experts of all tokens one after the other, each token's
// by descending logit. Its JSON Schema is scenarios/routing.schema.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace foretoken::plan {

struct RoutingRecord {
  std::uint64_t seed = 1;
  std::int64_t routed_steps = 0;
  std::int64_t layers = 0;
  std::int64_t dense_layers = 0;
  std::int64_t tokens = 0;  // sequences of the workload
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::vector<std::int32_t> choices;  // [step][layer - dense_layers][token][choice]
  std::string hash;                   // of the choices, as routing_hash covers them

  /// @param layer of the model, not a dense one
  [[nodiscard]] std::span<const std::int32_t> experts_of(std::int64_t step, std::int64_t layer,
                                                         std::int64_t token) const;
  [[nodiscard]] std::size_t place(std::int64_t step, std::int64_t layer, std::int64_t token) const {
    const std::int64_t row = (step * (layers - dense_layers) + layer - dense_layers) * tokens + token;
    return static_cast<std::size_t>(row * top_k);
  }
  /// Sets `hash`. @throws Error{internal} if a token has an expert twice, or one that is not there
  void seal();
};

/// @throws Error{invalid_input} naming file, pointer and what is wrong with it
RoutingRecord read_routing_record(const std::filesystem::path& path);

/// The file's text.
std::string text_of(const RoutingRecord& record);

}  // namespace foretoken::plan
