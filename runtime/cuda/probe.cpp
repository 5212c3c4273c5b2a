#include "runtime/cuda/probe.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {
namespace {

struct Name {
  std::string operator()(const CopyProbe& p) const {
    return fmt::format("copy {} bytes={}", p.cold ? "cold" : "warm", p.bytes.value());
  }
  std::string operator()(const GemmProbe& p) const {
    return fmt::format("gemm {} m={} n={} k={}", name_of(p.dtype), p.m, p.n, p.k);
  }
  std::string operator()(const ExpertGemmProbe& p) const {
    return fmt::format("expert_gemm {} experts={} rows={} n={} k={}", name_of(p.dtype), p.experts, p.rows, p.n, p.k);
  }
  std::string operator()(const AttentionProbe& p) const {
    return fmt::format("attention_decode {} batch={} context={} heads={} kv_heads={} head_dim={}", name_of(p.dtype),
                       p.batch, p.context, p.heads, p.kv_heads, p.head_dim);
  }
  std::string operator()(const RowwiseProbe& p) const {
    return fmt::format("{} {} rows={} cols={}", name_of(p.kind), name_of(p.dtype), p.rows, p.cols);
  }
  std::string operator()(const LaunchProbe& p) const {
    return fmt::format("launch {} {} kernels={}", p.graph ? "graph" : "eager", p.on_device ? "device" : "host",
                       p.kernels);
  }
  std::string operator()(const MessageProbe& p) const {
    return fmt::format("{}{} ranks={} nodes={} bytes={}{}", name_of(p.kind),
                       p.algorithm.empty() ? "" : " " + p.algorithm, p.ranks, p.nodes, p.bytes.value(),
                       p.beside_gemm ? " beside gemm" : "");
  }
  std::string operator()(const PairProbe& p) const {
    return fmt::format("message from={} to={} bytes={}", p.from.value(), p.to.value(), p.bytes.value());
  }
};

}  // namespace

std::string_view name_of(RowwiseKind kind) {
  switch (kind) {
    case RowwiseKind::norm: return "norm";
    case RowwiseKind::rope: return "rope";
    case RowwiseKind::permute: return "permute";
    case RowwiseKind::activation: return "activation";
  }
  FORETOKEN_CHECK(false, "no such kernel");
}

std::string_view name_of(MessageKind kind) {
  switch (kind) {
    case MessageKind::all_reduce: return "all_reduce";
    case MessageKind::all_gather: return "all_gather";
    case MessageKind::reduce_scatter: return "reduce_scatter";
    case MessageKind::all_to_all: return "all_to_all";
    case MessageKind::send_recv: return "send_recv";
  }
  FORETOKEN_CHECK(false, "no such message");
}

Bytes traffic(const RowwiseProbe& probe) {
  const std::int64_t reads = probe.kind == RowwiseKind::activation ? 2 : 1;
  return Bytes((reads + 1) * probe.rows * probe.cols * bytes_per_element(probe.dtype));
}

std::string name_of(const Probe& probe) { return std::visit(Name{}, probe); }

LaunchLayout LaunchLayout::of(const std::vector<std::string>& hosts) {
  LaunchLayout layout;
  std::vector<std::string> known;
  for (const std::string& host : hosts) {
    const auto place = std::find(known.begin(), known.end(), host);
    layout.node_of_rank.push_back(static_cast<std::int32_t>(place - known.begin()));
    if (place == known.end()) known.push_back(host);
  }
  return layout;
}

std::int64_t LaunchLayout::nodes() const {
  return node_of_rank.empty() ? 0 : *std::max_element(node_of_rank.begin(), node_of_rank.end()) + 1;
}

std::int64_t LaunchLayout::ranks_per_node() const {
  std::int64_t fewest = ranks();
  for (std::int32_t node = 0; node < nodes(); ++node)
    fewest = std::min<std::int64_t>(fewest, std::count(node_of_rank.begin(), node_of_rank.end(), node));
  return fewest;
}

std::vector<RankId> LaunchLayout::members(const MessageProbe& probe) const {
  FORETOKEN_CHECK(probe.nodes >= 1 && probe.ranks % probe.nodes == 0, "every node has as many members");
  std::vector<std::int64_t> left(static_cast<std::size_t>(nodes()), probe.ranks / probe.nodes);
  std::vector<RankId> members;
  for (std::size_t r = 0; r < node_of_rank.size(); ++r) {
    const std::int32_t node = node_of_rank[r];
    if (node < probe.nodes && left[static_cast<std::size_t>(node)]-- > 0) members.emplace_back(r);
  }
  FORETOKEN_CHECK(static_cast<std::int64_t>(members.size()) == probe.ranks, "the launch has not so many ranks");
  return members;
}

}  // namespace foretoken::runtime::cuda
