// One op to predict, as a line of JSON names it: `{"op": "gemm", "dtype": "bf16", "m": 128, "n": 8192, "k": 4096}`.
//
// What every op takes stands in tools/cli/op.schema.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/dtype.hpp"
#include "core/json_reader.hpp"
#include "sim/cost/expert_load.hpp"
#include "sim/cost/roofline.hpp"
#include "sim/moe_module.hpp"
#include "tools/collective/query.hpp"

namespace foretoken::predict {

struct Gemm {
  std::int64_t m = 0, n = 0, k = 0;
};

struct GroupedGemm {
  std::vector<std::int64_t> rows;  // per expert
  std::int64_t n = 0, k = 0;
};

struct Attention {
  sim::AttentionPhase phase = sim::AttentionPhase::decode;
  sim::AttentionShape shape;
};

struct MoeModule {
  sim::MoeModule module;
  sim::ExpertLoad load;
  std::int64_t ep = 1;
};

struct Communication {
  collective::Query query;  // one size
  std::int64_t nodes = 0;   // that the ranks are spread over evenly; 0: as few as have the GPUs
};

struct OpLine {
  std::string op;  // as written
  DType dtype = DType::bf16;
  std::string framework;  // whose compute kernels; empty: not said
  std::variant<Gemm, GroupedGemm, Attention, MoeModule, Communication> shape;
};

/// Reads one op. Members that it does not know are left alone: they are the user's own.
///
/// @throws Error{invalid_input} naming the place for an op, dtype, algorithm or distribution that is not known, for a
///         member that is missing or out of range, for what does not divide evenly, and for an unknown member that
///         differs from an optional one in case, plural, '_' or '-' alone: such a one is misspelt
OpLine read_op(const JsonReader& line);

}  // namespace foretoken::predict
