#include "tools/cli/measurement.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <variant>

#include "core/dtype.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

// As nccl-tests' -d has them.
std::string_view nccl_dtype(DType dtype) {
  switch (dtype) {
    case DType::fp32: return "float";
    case DType::fp16: return "half";
    case DType::bf16: return "bfloat16";
    case DType::fp8: return "f8e4m3";
    case DType::int32: return "int32";
  }
  return "";
}

/// As NCCL_ALGO has them; "" for what is not NCCL's.
std::string_view nccl_algorithm(CollectiveAlgorithm algorithm) {
  switch (algorithm) {
    case CollectiveAlgorithm::ring: return "Ring";
    case CollectiveAlgorithm::tree: return "Tree";
    case CollectiveAlgorithm::nvls: return "NVLS";
    case CollectiveAlgorithm::nvls_tree: return "NVLSTree";
    case CollectiveAlgorithm::direct: return "";
  }
  return "";
}

// For a shell.
std::string quoted(const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') ||
           std::string_view("_-./=:,+").find(c) != std::string_view::npos;
  });
  if (plain && !text.empty()) return text;
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// The user's measurement stands instead of US.
std::string score_line(Json op) {
  std::string text = op.dump();
  text.pop_back();
  return fmt::format("echo '{},\"measured_us\":US}}' | foretoken score", text);
}

std::string rows_text(const plan::Extent& rows) {
  return rows.kind == plan::Extent::Kind::fixed ? std::to_string(rows.count) : "by routing";
}

}  // namespace

Measurements::Measurements(const Loaded& loaded, const ScenarioOptions& options, const Trace& trace)
    : loaded_(loaded),
      options_(options),
      trace_(trace),
      rows_(loaded.plan.placement, loaded.plan.routing, loaded.scenario.model.experts) {}

const plan::Op& Measurements::op_of(std::size_t event) const {
  return loaded_.plan.program.role_of(RankId(trace_.rank[event])).ops[static_cast<std::size_t>(trace_.op[event])];
}

const plan::Communication& Measurements::communication_of(CommunicationId id) const {
  return loaded_.plan.program.communications[id.index()];
}

Measurements::Spread Measurements::spread(CommunicationId id, RankId rank) const {
  const plan::GroupFamily& group = loaded_.plan.program.groups[communication_of(id).group.index()];
  std::set<std::int32_t> nodes;
  for (std::int64_t i = 0; i < group.size; ++i) nodes.insert(loaded_.machine.node_of(group.member(rank, i)));
  return {group.size, static_cast<std::int64_t>(nodes.size())};
}

std::int64_t Measurements::tokens_sent(CommunicationId id) const {
  std::int64_t rows = 0;
  for (const plan::Role& role : loaded_.plan.program.roles)
    for (const plan::Op& op : role.ops)
      if (const auto* exchange = std::get_if<plan::ExchangeOp>(&op.detail); exchange && exchange->communication == id)
        rows = std::max(rows, exchange->source_rows);
  return std::max<std::int64_t>(1, rows / std::max<std::int64_t>(1, loaded_.scenario.model.top_k));
}

std::string Measurements::shape(std::size_t event) const {
  const plan::Op& op = op_of(event);
  const RankId rank(trace_.rank[event]);
  struct Shape {
    const Measurements& of;
    const plan::Op& op;
    RankId rank;
    [[nodiscard]] std::string spread(CommunicationId id) const {
      const Spread spread = of.spread(id, rank);
      return fmt::format("{} ranks on {} node{}", spread.ranks, spread.nodes, spread.nodes == 1 ? "" : "s");
    }
    std::string operator()(const plan::RowwiseOp& d) const {
      return fmt::format("rows {}, width {}", rows_text(d.rows), d.cols);
    }
    std::string operator()(const plan::GemmOp& d) const {
      return fmt::format("m {}, n {}, k {}", rows_text(d.rows), d.n, d.k);
    }
    std::string operator()(const plan::GroupedGemmOp& d) const {
      return fmt::format("{} expert{}, rows {}, n {}, k {}", d.experts, d.experts == 1 ? "" : "s", rows_text(d.rows),
                         d.n, d.k);
    }
    std::string operator()(const plan::AttentionOp& d) const {
      return fmt::format("batch {}, context {}, heads {}, KV heads {}, head_dim {}", d.sequences, d.context, d.heads,
                         d.kv_heads, d.head_dim);
    }
    std::string operator()(const plan::RouteOp& d) const {
      return fmt::format("rows {}, hidden {}, {} experts, top-{}", d.rows, d.hidden, d.experts, d.top_k);
    }
    std::string operator()(const plan::CollectiveOpDetail& d) const {
      return fmt::format("{}, {} bytes, {}", spread(d.communication), d.rows * d.cols * bytes_per_element(op.dtype),
                         name_of(of.communication_of(d.communication).algorithm));
    }
    std::string operator()(const plan::ExchangeOp& d) const {
      return fmt::format("{}, {} tokens a rank, width {}, {}", spread(d.communication), of.tokens_sent(d.communication),
                         d.cols, name_of(of.communication_of(d.communication).exchange));
    }
    std::string operator()(const plan::TransferOp& d) const {
      return fmt::format("{}, {} bytes", of.across_nodes(rank, d) ? "across nodes" : "in a node",
                         d.rows * d.cols * bytes_per_element(op.dtype));
    }
  };
  return fmt::format("{}, {}", name_of(op.dtype), std::visit(Shape{*this, op, rank}, op.detail));
}

bool Measurements::across_nodes(RankId rank, const plan::TransferOp& transfer) const {
  const RankId peer(static_cast<std::int32_t>(rank.value() + transfer.peer_offset));
  return loaded_.machine.node_of(rank) != loaded_.machine.node_of(peer);
}

// What has no benchmark of its own: the whole scenario, op by op.
std::string Measurements::run_all() const {
  std::string command = fmt::format("mpirun -n {} foretoken run {} --backend cuda --out measured.json",
                                    loaded_.plan.program.ranks, quoted(options_.scenarios.front().string()));
  for (const std::string& one : options_.overrides) command += " --set " + quoted(one);
  if (!options_.topology.empty()) command += " --topology " + quoted(options_.topology.string());
  return command;
}

std::string Measurements::collective_command(const plan::Op& op, RankId rank,
                                             const plan::CollectiveOpDetail& detail) const {
  const Spread group = spread(detail.communication, rank);
  const std::int64_t bytes = detail.rows * detail.cols * bytes_per_element(op.dtype);
  const CollectiveAlgorithm algorithm = communication_of(detail.communication).algorithm;
  if (nccl_algorithm(algorithm).empty())
    return score_line({{"op", name_of(op.kind)},
                       {"dtype", name_of(op.dtype)},
                       {"ranks", group.ranks},
                       {"nodes", group.nodes},
                       {"bytes", bytes},
                       {"algorithm", name_of(algorithm)}});
  return fmt::format(
      "mpirun -x NCCL_ALGO={} -n {} --map-by ppr:{}:node {}_perf -b {} -e {} -d {} | foretoken import - | foretoken "
      "score",
      nccl_algorithm(algorithm), group.ranks, std::max<std::int64_t>(1, group.ranks / group.nodes), name_of(op.kind),
      bytes, bytes, nccl_dtype(op.dtype));
}

std::string Measurements::exchange_command(const plan::Op& op, RankId rank, const plan::ExchangeOp& detail) const {
  if (op.kind == plan::OpKind::exchange_counts) return run_all();
  const Spread group = spread(detail.communication, rank);
  const plan::ModelSpec& model = loaded_.scenario.model;
  const std::int64_t tokens = tokens_sent(detail.communication);
  const bool low_latency = communication_of(detail.communication).exchange == ExchangeAlgorithm::low_latency;
  const char* test = low_latency ? "test_low_latency" : group.nodes > 1 ? "test_internode" : "test_intranode";
  return fmt::format(
      "python tests/{}.py --num-processes {} --num-tokens {} --hidden {} --num-topk {} --num-experts {} | foretoken "
      "import - --set nodes={} {}--set experts={} | foretoken score",
      test, std::max<std::int64_t>(1, group.ranks / group.nodes), tokens, model.hidden, model.top_k, model.experts,
      group.nodes,
      low_latency ? fmt::format("--set tokens={} --set hidden={} --set top_k={} ", tokens, model.hidden, model.top_k)
                  : fmt::format("--set ep={} ", group.ranks),
      model.experts);
}

std::string Measurements::transfer_command(const plan::Op& op, RankId rank, const plan::TransferOp& detail) const {
  const std::int64_t bytes = detail.rows * detail.cols * bytes_per_element(op.dtype);
  return fmt::format(
      "mpirun -n 2 --map-by ppr:{}:node sendrecv_perf -b {} -e {} -d {} | foretoken import - | foretoken score",
      across_nodes(rank, detail) ? 1 : 2, bytes, bytes, nccl_dtype(op.dtype));
}

std::vector<std::int64_t> Measurements::rows(std::size_t event, const plan::Extent& extent) {
  if (extent.kind == plan::Extent::Kind::fixed) return {extent.count};
  return rows_.local_rows(RankId(trace_.rank[event]), extent, trace_.step[event] % loaded_.plan.routing.routed_steps());
}

std::string Measurements::command(std::size_t event) {
  const plan::Op& op = op_of(event);
  const RankId rank(trace_.rank[event]);
  if (loaded_.machine.is_host())
    return fmt::format("foretoken calibrate host --out mine --for {}", quoted(options_.scenarios.front().string()));
  if (const auto* collective = std::get_if<plan::CollectiveOpDetail>(&op.detail))
    return collective_command(op, rank, *collective);
  if (const auto* exchange = std::get_if<plan::ExchangeOp>(&op.detail)) return exchange_command(op, rank, *exchange);
  if (const auto* transfer = std::get_if<plan::TransferOp>(&op.detail)) return transfer_command(op, rank, *transfer);
  if (const auto* gemm = std::get_if<plan::GemmOp>(&op.detail)) {
    const std::vector<std::int64_t> of_experts = rows(event, gemm->rows);
    return score_line({{"op", "gemm"},
                       {"dtype", name_of(op.dtype)},
                       {"m", std::accumulate(of_experts.begin(), of_experts.end(), std::int64_t{0})},
                       {"n", gemm->n},
                       {"k", gemm->k}});
  }
  if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail)) {
    std::vector<std::int64_t> of_experts = rows(event, grouped->rows);
    if (grouped->rows.kind == plan::Extent::Kind::fixed)
      of_experts.assign(static_cast<std::size_t>(grouped->experts), grouped->rows.count / grouped->experts);
    return score_line({{"op", "grouped_gemm"},
                       {"dtype", name_of(op.dtype)},
                       {"rows", of_experts},
                       {"n", grouped->n},
                       {"k", grouped->k}});
  }
  const auto* attention = std::get_if<plan::AttentionOp>(&op.detail);
  if (attention == nullptr || attention->value_dim > 0) return run_all();
  return score_line({{"op", "attention_decode"},
                     {"kv_dtype", name_of(op.dtype)},
                     {"batch", attention->sequences},
                     {"context", std::max<std::int64_t>(1, attention->context)},
                     {"heads", attention->heads},
                     {"kv_heads", attention->kv_heads},
                     {"head_dim", attention->head_dim},
                     {"kv", "cold"}});
}

}  // namespace foretoken::cli
