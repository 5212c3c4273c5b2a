// The Program: what every rank does in one step, written per role. Both executors interpret exactly this.
//
// Ranks whose ops have the same shapes share a Role. A role's ops stand in program order; each is on a named in-order
// stream and names the ops it depends on, in this step or in the one before (`distance` 1). Ops say what is computed,
// never how long it takes. Row counts that depend on routing are symbols (Extent::routed), resolved per rank and step
// by plan/program/resolve.hpp. FLOPs and bytes of an op: plan/program/work.hpp. Text form: plan/program/text.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/dtype.hpp"
#include "core/ids.hpp"
#include "core/packing.hpp"

namespace foretoken::plan {

enum class OpKind : std::uint8_t {
  input,         // the step's hidden states become available: drawn from the seed, no cost
  norm,          // RMS norm; with a second input, residual add and norm in one pass
  gemm,          // dense matrix product
  rope_kv,       // rotary embedding of q and k, append of k and v to the KV cache
  attention,     // decode attention over the KV cache
  route,         // router GEMM, softmax and top-k
  permute,       // copies token rows into expert or destination order
  grouped_gemm,  // one matrix product per local expert
  activation,    // SiLU, or SiLU times gate
  unpermute,     // back to token order, weighted sum over a token's experts
  add,           // residual add
  all_reduce,
  reduce_scatter,   // of token rows: each rank keeps its slice of the tokens
  all_gather,       // of token rows
  dispatch,         // token rows to the ranks of their experts
  combine,          // expert outputs back to the ranks of their tokens
  exchange_counts,  // before a dispatch: how many rows each host gets for each of its experts
  send,
  recv,
  step_end,  // the tokens of a micro-batch are out
};

constexpr std::array<std::pair<OpKind, std::string_view>, 20> kOpKindNames{
    {{OpKind::input, "input"},
     {OpKind::norm, "norm"},
     {OpKind::gemm, "gemm"},
     {OpKind::rope_kv, "rope_kv"},
     {OpKind::attention, "attention"},
     {OpKind::route, "route"},
     {OpKind::permute, "permute"},
     {OpKind::grouped_gemm, "grouped_gemm"},
     {OpKind::activation, "activation"},
     {OpKind::unpermute, "unpermute"},
     {OpKind::add, "add"},
     {OpKind::all_reduce, "all_reduce"},
     {OpKind::reduce_scatter, "reduce_scatter"},
     {OpKind::all_gather, "all_gather"},
     {OpKind::dispatch, "dispatch"},
     {OpKind::combine, "combine"},
     {OpKind::exchange_counts, "exchange_counts"},
     {OpKind::send, "send"},
     {OpKind::recv, "recv"},
     {OpKind::step_end, "step_end"}}};

constexpr std::string_view name_of(OpKind kind) { return kOpKindNames[static_cast<std::size_t>(kind)].second; }
constexpr bool is_communication(OpKind kind) { return kind >= OpKind::all_reduce && kind <= OpKind::recv; }
/// Between the ranks that have tokens and the ranks that have their experts.
constexpr bool is_exchange(OpKind kind) { return kind >= OpKind::dispatch && kind <= OpKind::exchange_counts; }
/// Marks in time, which no kernel of a GPU stands for.
constexpr bool is_mark(OpKind kind) { return kind == OpKind::input || kind == OpKind::step_end; }

/// An in-order stream of a rank. The first four are fixed; kFirstExchange + c carries micro-stage chunk c, because
/// chunks are received concurrently and must not queue behind one another.
struct Stream {
  std::int16_t index = 0;
  constexpr auto operator<=>(const Stream&) const = default;
};
inline constexpr Stream kCompute{0};
inline constexpr Stream kCommunication{1};
inline constexpr Stream kPipelineSend{2};
inline constexpr Stream kPipelineRecv{3};
inline constexpr std::int16_t kFirstExchange = 4;
std::string name_of(Stream stream);

/// Number of rows: fixed, or decided by routing.
struct Extent {
  enum class Kind : std::uint8_t {
    fixed,   // `count` rows
    routed,  // (token, choice) pairs of `layer`, `micro_batch` and `chunk` whose expert is local to the rank
  };
  Kind kind = Kind::fixed;
  std::int64_t count = 0;
  std::int16_t layer = -1;
  std::int16_t micro_batch = -1;
  std::int16_t chunk = -1;  // -1: all sources
  auto operator<=>(const Extent&) const = default;

  static Extent fixed(std::int64_t count) { return Extent{Kind::fixed, count, -1, -1, -1}; }
  static Extent routed(std::int64_t layer, std::int64_t micro_batch, std::int64_t chunk) {
    return Extent{Kind::routed, 0, static_cast<std::int16_t>(layer), static_cast<std::int16_t>(micro_batch),
                  static_cast<std::int16_t>(chunk)};
  }
};

/// A matrix of the model that a weight tensor holds, whole or in part. Whole, as [rows, columns]:
///
///   attention_norm, mlp_norm  [1, hidden]
///   qkv          [hidden, q of all heads | k of all KV heads | v of all KV heads], each head_dim wide
///   o_proj       [heads x head_dim, hidden]
///   mlp_up       [hidden, dense_hidden], gated: [hidden, gate | up]; mlp_down [dense_hidden, hidden]
///   router       [hidden, experts]
///   expert_up    per expert [hidden, expert_hidden], gated: [hidden, gate | up]; expert_down [expert_hidden, hidden]
///   shared_up    [hidden, shared_experts x expert_hidden], gated: [hidden, gate | up]; shared_down the other way round
///   embedding    [vocabulary, hidden]; lm_head [hidden, vocabulary]; output_norm [1, hidden]
///
/// Latent attention has instead of qkv:
///
///   latent_down  [hidden, q_rank | kv_rank | rope_dim], without q_rank the queries of all heads in its place
///   q_up         [q_rank, heads x (nope_dim + rope_dim)]; latent_norm [1, q_rank + kv_rank]
///   k_up         per head [nope_dim, kv_rank]: takes a query to where the latents are
///   v_up         per head [kv_rank, value_dim]: takes what attention gave back
///
/// A rank's part: its heads, or its contiguous slice of the inner width (of gate and of up alike); a rank with more TP
/// peers than there are KV heads holds a copy of the KV head of its heads; expert stacks follow Placement::experts_on.
enum class WeightKind : std::uint8_t {
  none,  // not a weight
  attention_norm,
  qkv,
  o_proj,
  mlp_norm,
  mlp_up,
  mlp_down,
  router,
  expert_up,
  expert_down,
  shared_up,
  shared_down,
  embedding,
  lm_head,
  output_norm,
  latent_down,
  latent_norm,
  q_up,
  k_up,
  v_up,
};

constexpr std::array<std::pair<WeightKind, std::string_view>, 20> kWeightKindNames{
    {{WeightKind::none, "none"},
     {WeightKind::attention_norm, "attention_norm"},
     {WeightKind::qkv, "qkv"},
     {WeightKind::o_proj, "o_proj"},
     {WeightKind::mlp_norm, "mlp_norm"},
     {WeightKind::mlp_up, "mlp_up"},
     {WeightKind::mlp_down, "mlp_down"},
     {WeightKind::router, "router"},
     {WeightKind::expert_up, "expert_up"},
     {WeightKind::expert_down, "expert_down"},
     {WeightKind::shared_up, "shared_up"},
     {WeightKind::shared_down, "shared_down"},
     {WeightKind::embedding, "embedding"},
     {WeightKind::lm_head, "lm_head"},
     {WeightKind::output_norm, "output_norm"},
     {WeightKind::latent_down, "latent_down"},
     {WeightKind::latent_norm, "latent_norm"},
     {WeightKind::q_up, "q_up"},
     {WeightKind::k_up, "k_up"},
     {WeightKind::v_up, "v_up"}}};

constexpr std::string_view name_of(WeightKind kind) { return kWeightKindNames[static_cast<std::size_t>(kind)].second; }

/// A KV cache belongs to one layer and micro-batch: row (sequence x context + position), columns [k | v] by KV head,
/// or [latent | rotary key] of latent attention. A windowed layer keeps the latest positions.
enum class TensorKind : std::uint8_t { activation, weight, kv_cache };

/// A matrix (or a stack of `stack` matrices) of a role. Activations are written once per step, before they are read.
/// No two tensors overlap. An executor may keep one buffer per tensor for all steps: dependencies, stream order and
/// meetings of ranks see to it that a tensor's readers of one step are done before its writer of the next begins.
struct Tensor {
  std::string name;
  TensorKind kind = TensorKind::activation;
  DType dtype = DType::fp16;
  std::int64_t stack = 1;  // local experts, for expert weights
  Extent rows;
  std::int64_t cols = 0;
  WeightKind weight = WeightKind::none;
  std::int16_t layer = -1;          // of a weight or a KV cache
  Packing packing = Packing::none;  // of a weight: stored narrower than dtype
};

// ---- what each kind of op needs to know ----------------------------------------------------------------------------

/// Which rows a `permute` copies, and in which order. Tokens in ascending order of sequence; experts and hosts as
/// Placement orders them. A token's choices are distinct, so (expert, token) names a row.
///
/// select  all_reduce: rows of the local experts, by (expert, token), from the tokens that all ranks of the group hold
/// pack    dispatch, source: all choices of the rank's tokens by (host, expert, token); a message is what one host gets
/// sort    dispatch, host: from the order of arrival, by (source, expert, token), to (expert, source, token)
/// unsort  back to the order of arrival, in which `combine` returns rows: at the source they are as `pack` left them
///
/// `unpermute` finds a token's rows in the order of `select` or `pack` and adds them in the order of its choices
/// (Routing::experts_of), each times its weight; choices that are not on this rank add nothing.
/// lookup  the embedding's rows of the step's tokens; a rank with a part of the vocabulary writes zeros for the rest
enum class RowOrder : std::uint8_t { none, select, pack, sort, unsort, lookup };

constexpr std::array<std::pair<RowOrder, std::string_view>, 6> kRowOrderNames{{{RowOrder::none, "none"},
                                                                               {RowOrder::select, "select"},
                                                                               {RowOrder::pack, "pack"},
                                                                               {RowOrder::sort, "sort"},
                                                                               {RowOrder::unsort, "unsort"},
                                                                               {RowOrder::lookup, "lookup"}}};

constexpr std::string_view name_of(RowOrder order) { return kRowOrderNames[static_cast<std::size_t>(order)].second; }

/// input, norm, add, activation, rope_kv, permute, unpermute, step_end: row-wise work. rows x cols elements in the
/// widest operand.
struct RowwiseOp {
  Extent rows;
  std::int64_t cols = 0;
  bool residual = false;            // norm: adds the second input first and writes the sum too
  bool gated = false;               // activation: cols gate columns and cols up columns in, cols out
  std::int64_t out_rows = 0;        // unpermute: rows written, each the weighted sum of some of `rows`; otherwise 0
  RowOrder order = RowOrder::none;  // permute
};

/// out[rows, n] = in[rows, k] x weight[k, n]
struct GemmOp {
  Extent rows;
  std::int64_t n = 0;
  std::int64_t k = 0;
};

/// For each local expert e: out[rows_e, n] = in[rows_e, k] x weight_e[k, n]
/// With fixed rows a product per head of latent attention, each with as many rows.
struct GroupedGemmOp {
  Extent rows;  // Kind::routed: sum of rows_e
  std::int64_t experts = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  Packing packing = Packing::none;  // of the weights
};

/// One new token per sequence over `context` cached tokens (the new one included).
struct AttentionOp {
  std::int64_t sequences = 0;
  std::int64_t context = 0;
  std::int64_t heads = 0;  // on this rank
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  // Latent attention: the one KV head is the latent beside the rotary key, head_dim wide together, and its first
  // value_dim elements are the value, read once for both. 0: keys and values are apart, head_dim wide each.
  std::int64_t value_dim = 0;
};

/// Out, per row: the token's top_k experts as numbers, then their weights: the softmax over those experts' logits.
struct RouteOp {
  std::int64_t rows = 0;
  std::int64_t hidden = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
};

/// A collective over this rank's instance of the communication's group. Buffer: rows x cols elements (full, unsliced).
/// Member i's slice, of all_gather's input and reduce_scatter's output, is split([0, rows), size, i).
struct CollectiveOpDetail {
  CommunicationId communication;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

/// dispatch, combine and exchange_counts. A rank may be source, host, or both. What a rank sends to whom:
/// plan/program/wire_rows.hpp.
///
/// exchange_counts: int32 numbers, one per expert; in: [1, experts] as `pack` wrote it, by (host, expert); out:
/// [sources, local experts], sources in ascending order.
struct ExchangeOp {
  CommunicationId communication;
  bool source = false;           // holds tokens of this chunk
  bool host = false;             // holds experts of this layer
  std::int64_t source_rows = 0;  // tokens x top_k of this rank in this chunk, counts: experts; 0 if not a source
  std::int64_t cols = 0;
};

/// send and recv: rows x cols elements to or from rank + peer_offset. A send whose input has more rows than that sends
/// the slice of this rank's TP index: split([0, rows of the input), tp, index).
struct TransferOp {
  CommunicationId communication;
  std::int64_t peer_offset = 0;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

using OpDetail =
    std::variant<RowwiseOp, GemmOp, GroupedGemmOp, AttentionOp, RouteOp, CollectiveOpDetail, ExchangeOp, TransferOp>;

struct Dependency {
  OpId op;
  std::int32_t distance = 0;  // 0: this step, 1: the step before
  auto operator<=>(const Dependency&) const = default;
};

struct Op {
  std::string name;  // unique within the role and stable across roles: "l0.m1.qkv"
  OpKind kind = OpKind::norm;
  Stream stream = kCompute;
  DType dtype = DType::fp16;  // of the elements computed on or moved
  std::int16_t layer = -1;
  std::int16_t micro_batch = -1;
  std::int16_t chunk = -1;
  // Ops of one `arrival_set` (>= 0) form consecutive blocks, one per chunk, on one stream; the blocks run in the order
  // in which their first op becomes ready (equal times: lower chunk first). Their results do not depend on that order.
  std::int32_t arrival_set = -1;
  OpDetail detail;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<Dependency> dependencies;  // beyond the order of the op's own stream
};

/// Ranks r with the same r - ((r / stride) mod size) * stride form one instance of the family.
struct GroupFamily {
  std::string name;  // "tp", "ep"
  std::int64_t size = 1;
  std::int64_t stride = 1;

  [[nodiscard]] std::int64_t index_of(RankId rank) const { return rank.value() / stride % size; }
  [[nodiscard]] RankId first_of(RankId rank) const {
    return RankId(static_cast<std::int32_t>(rank.value() - index_of(rank) * stride));
  }
  /// Member `index` of the instance that `rank` belongs to.
  [[nodiscard]] RankId member(RankId rank, std::int64_t index) const {
    return RankId(static_cast<std::int32_t>(first_of(rank).value() + index * stride));
  }
};

/// One communication, shared by all roles that take part in it: ops that meet name the same one.
struct Communication {
  std::string name;                                             // "l0.m1.attention_all_reduce"
  OpKind kind = OpKind::all_reduce;                             // send and recv share a communication of kind send
  GroupId group;                                                // transfers: invalid
  CollectiveAlgorithm algorithm = CollectiveAlgorithm::ring;    // dispatch and combine: direct
  ExchangeAlgorithm exchange = ExchangeAlgorithm::low_latency;  // of dispatch and combine
  DType dtype = DType::fp16;
  std::int16_t layer = -1;
  std::int16_t micro_batch = -1;
  std::int16_t chunk = -1;
  // dispatch and combine by capacity: every message from a source to a host, or back, is `slots` rows long, whatever
  // is in them. A dispatch's `header_rows` stand before them and hold the rows' number for each expert of the host.
  std::int64_t slots = 0;  // 0: as many rows as there are
  std::int64_t header_rows = 0;
};

struct Role {
  std::string name;  // "stage0", "stage0 hosts l1"
  std::vector<RankId> ranks;
  std::vector<Tensor> tensors;
  std::vector<Op> ops;  // program order
};

struct Program {
  std::int64_t ranks = 0;
  std::string placement;    // where experts and chunks are, as text: ops alone do not tell which expert is where
  std::int64_t tokens = 0;  // output tokens per step
  std::vector<GroupFamily> groups;
  std::vector<Communication> communications;
  std::vector<Role> roles;
  std::vector<std::int32_t> role_of_rank;

  [[nodiscard]] const Role& role_of(RankId rank) const {
    return roles[static_cast<std::size_t>(role_of_rank[rank.index()])];
  }
};

}  // namespace foretoken::plan
