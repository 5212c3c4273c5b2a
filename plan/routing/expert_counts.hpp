// How often each expert was visited, as a serving framework has counted it: what `routing: counts` draws from.
//
// The file is JSON with one of
//
//   logical_count   [layer][expert] or [sample][layer][expert]: SGLang's expert distribution recorder, as JSON
//   routed_experts  [token][layer][choice]: what vLLM returns with --enable-return-routed-experts
//
// and, where it has not a row for each layer of the model or for each that has experts, `layers`: the model's layer of
// each row. Other members are ignored: these are other programs' files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "plan/scenario/model_spec.hpp"

namespace foretoken::plan {

struct ExpertCounts {
  std::int64_t steps = 0;             // samples; routed step s uses sample s mod steps
  std::int64_t layers = 0;            // of the model
  std::int64_t experts = 0;           // of the model
  std::vector<std::uint64_t> visits;  // [step][layer][expert]; of dense layers 0
  std::string hash;                   // of the above

  [[nodiscard]] std::span<const std::uint64_t> of(std::int64_t step, std::int64_t layer) const {
    return std::span(visits).subspan(static_cast<std::size_t>((step % steps * layers + layer) * experts),
                                     static_cast<std::size_t>(experts));
  }
};

/// @throws Error{invalid_input} naming file, pointer and what is wrong: among others, rows of other layers or experts
///         than the model has, and counts that no tokens with `top_k` distinct experts can have left
ExpertCounts read_expert_counts(const std::filesystem::path& path, const ModelSpec& model);

}  // namespace foretoken::plan
