// What `foretoken collective` is asked: an operation, sizes, and how it is carried out.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/dtype.hpp"
#include "core/units.hpp"
#include "sim/collective/traffic_matrix.hpp"
#include "sim/cost/network_cost.hpp"

namespace foretoken::collective {

enum class Operation : std::uint8_t {
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  all_to_all_v,
  send_recv,
  dispatch,
  combine
};

constexpr std::array<std::pair<Operation, std::string_view>, 8> kOperationNames{
    {{Operation::all_reduce, "all_reduce"},
     {Operation::all_gather, "all_gather"},
     {Operation::reduce_scatter, "reduce_scatter"},
     {Operation::all_to_all, "all_to_all"},
     {Operation::all_to_all_v, "all_to_all_v"},
     {Operation::send_recv, "send_recv"},
     {Operation::dispatch, "dispatch"},
     {Operation::combine, "combine"}}};

constexpr std::string_view name_of(Operation op) { return kOperationNames[static_cast<std::size_t>(op)].second; }
constexpr bool is_exchange(Operation op) { return op == Operation::dispatch || op == Operation::combine; }

/// A dispatch or combine: experts over all ranks, tokens per rank.
struct ExchangeShape {
  int hidden = 7168;
  int top_k = 8;
  int experts = 256;
  int sms = sim::kHierarchicalSms;  // of the hierarchical kernels; low-latency ones take what they need
};

struct Query {
  Operation op = Operation::all_reduce;
  std::int32_t ranks = 1;
  std::vector<std::int64_t> sizes;  // bytes; of exchanges tokens per rank
  DType dtype = DType::fp32;
  std::string algorithm = "auto";
  std::string pattern = "uniform";  // of all_to_all_v: "uniform", "skewed", or a file
  std::vector<double> weights;      // of a pattern from a file
  ExchangeShape exchange;
};

/// Sizes from `begin:end:factor`, `begin:end` (factor 2) or a list with commas. Numbers may end in K, M or G, which are
/// 2^10, 2^20 and 2^30 as in nccl-tests.
/// @param option  for messages: "--sizes"
/// @throws Error{invalid_input} for anything else, an end before the begin, a factor below 2, numbers outside
///         [1, 2^50], or more than 1,000 sizes
/// Example: "8:1K:4" -> 8, 32, 128, 512.
std::vector<std::int64_t> parse_sizes(const std::string& option, const std::string& text);

/// What is moved when `bytes` are asked for: whole elements, as many for every rank where ranks have equal parts,
/// rounded down but for one each.
Bytes whole_size(const Query& query, Bytes bytes);

/// A file of ranks x ranks numbers >= 0, one line per sender, separated by blanks or commas; '#' begins a comment.
/// @throws Error{invalid_input} naming file and line
std::vector<double> read_pattern(const std::filesystem::path& file, std::int32_t ranks);

/// Who sends what in an all-to-all of this size.
sim::TrafficMatrix traffic_of(const Query& query, Bytes bytes);

/// The algorithm by name; `auto` for what NCCL, or DeepEP, takes: ring, nvls or trees (choose_all_reduce), direct,
/// low_latency up to 128 tokens per rank and hierarchical above.
/// @throws Error{invalid_input} for one that the operation does not have
CollectiveAlgorithm collective_algorithm(const Query& query, int nodes, Bytes bytes, bool nvls);
AllToAllAlgorithm all_to_all_algorithm(const Query& query);
ExchangeAlgorithm exchange_algorithm(const Query& query, std::int64_t tokens);

/// @throws Error{invalid_input} for what ranks that are threads or processes of computers do not carry out: dtypes but
///         fp32, exchanges, and algorithms but ring and direct of collectives
void require_host_has(const Query& query);

/// The collective that an operation is. Precondition: all_reduce, all_gather or reduce_scatter.
CollectiveOp collective_of(Operation op);
constexpr bool is_collective(Operation op) { return op <= Operation::reduce_scatter; }

}  // namespace foretoken::collective
