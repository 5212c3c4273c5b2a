// Time per output token of a server at a stated concurrency: a steady-state decode model with prefill interference,
// put together from ops that the cost models answer. For scoring published serving rows; `simulate` knows more.
//
//   TPOT = step(C) + (C - 1) / osl x prefill(isl)
//
// C requests are in flight and each decodes osl tokens, so that between two tokens of one request (C - 1) / osl other
// requests begin on average, and each holds everybody up for its prefill. step(C) is a decode step of C sequences at
// context isl + osl / 2: per layer QKV, attention, output projection, MLP or experts, and two all-reduces over the TP
// group; the LM head once.
//
// Left out: norms, rotary embedding, router, sampling, the host's scheduling and launches, chunked prefill's better
// overlap with decode, prefix caching, and queueing. So it is rather too fast.
#pragma once

#include <cstdint>
#include <string>

#include "core/dtype.hpp"
#include "core/json_reader.hpp"
#include "sim/cost/estimate.hpp"
#include "tools/predict/predictor.hpp"

namespace foretoken::predict {

struct ServingCase {
  std::int64_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, vocab = 0;
  std::int64_t ffn = 0;                 // of a dense model, or of one expert
  std::int64_t experts = 0, top_k = 0;  // 0: dense
  std::int64_t tp = 1;
  std::int64_t moe_ep = 1;  // GPUs that experts are spread over; the rest of tp splits each
  std::int64_t concurrency = 0, isl = 0, osl = 0;
  DType dtype = DType::bf16;
  std::string framework;
};

/// Reads a line with "serving": {"layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "ffn", "experts",
/// "top_k", "tp", "moe_ep", "concurrency", "isl", "osl", "dtype"}, and optional "framework" beside it.
/// @throws Error{invalid_input} naming the place
ServingCase read_serving_case(const JsonReader& line);

/// TPOT, and the worst of what its ops rest on.
/// @throws Error{invalid_input} as the predictor
sim::Estimate predict_serving(const ServingCase& serving, Predictor& predictor);

}  // namespace foretoken::predict
