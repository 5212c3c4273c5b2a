#include "plan/program/text.hpp"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include <iterator>

namespace foretoken::plan {

std::string name_of(Stream stream) {
  switch (stream.index) {
    case 0: return "compute";
    case 1: return "communication";
    case 2: return "pipeline_send";
    case 3: return "pipeline_recv";
    default: return fmt::format("exchange{}", stream.index - kFirstExchange);
  }
}

namespace {

using Buffer = fmt::memory_buffer;

template <class... Args>
void append(Buffer& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

std::string shown(const Extent& extent) {
  if (extent.kind == Extent::Kind::fixed) return fmt::format("{}", extent.count);
  const std::string chunk = extent.chunk < 0 ? std::string() : fmt::format(",c{}", extent.chunk);
  return fmt::format("routed(l{},m{}{})", extent.layer, extent.micro_batch, chunk);
}

std::string shown(Packing packing) {
  return packing == Packing::none ? std::string() : fmt::format(" {}", foretoken::name_of(packing));
}

struct DetailText {
  std::string operator()(const RowwiseOp& o) const {
    std::string text = fmt::format("rows={} cols={}", shown(o.rows), o.cols);
    if (o.residual) text += " residual";
    if (o.gated) text += " gated";
    if (o.out_rows > 0) text += fmt::format(" out_rows={}", o.out_rows);
    if (o.order != RowOrder::none) text += fmt::format(" order={}", name_of(o.order));
    return text;
  }
  std::string operator()(const GemmOp& o) const { return fmt::format("m={} n={} k={}", shown(o.rows), o.n, o.k); }
  std::string operator()(const GroupedGemmOp& o) const {
    return fmt::format("experts={} m={} n={} k={}{}", o.experts, shown(o.rows), o.n, o.k, shown(o.packing));
  }
  std::string operator()(const AttentionOp& o) const {
    return fmt::format("sequences={} context={} heads={} kv_heads={} head_dim={}{}", o.sequences, o.context, o.heads,
                       o.kv_heads, o.head_dim,
                       o.value_dim > 0 ? fmt::format(" value_dim={}", o.value_dim) : std::string());
  }
  std::string operator()(const RouteOp& o) const {
    return fmt::format("rows={} hidden={} experts={} top_k={}", o.rows, o.hidden, o.experts, o.top_k);
  }
  std::string operator()(const CollectiveOpDetail& o) const {
    return fmt::format("comm={} rows={} cols={}", o.communication.value(), o.rows, o.cols);
  }
  std::string operator()(const ExchangeOp& o) const {
    return fmt::format("comm={}{}{} source_rows={} cols={}", o.communication.value(), o.source ? " source" : "",
                       o.host ? " host" : "", o.source_rows, o.cols);
  }
  std::string operator()(const TransferOp& o) const {
    return fmt::format("comm={} peer={:+} rows={} cols={}", o.communication.value(), o.peer_offset, o.rows, o.cols);
  }
};

// 0-15 32-47: runs of consecutive ranks.
void append_ranks(Buffer& out, const std::vector<RankId>& ranks) {
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t j = i;
    while (j + 1 < ranks.size() && ranks[j + 1].value() == ranks[j].value() + 1) ++j;
    if (j == i) append(out, " {}", ranks[i].value());
    else append(out, " {}-{}", ranks[i].value(), ranks[j].value());
    i = j + 1;
  }
}

void append_names(Buffer& out, const char* label, const std::vector<TensorId>& ids, const Role& role) {
  if (ids.empty()) return;
  append(out, " {}", label);
  for (const TensorId id : ids) append(out, " {}", role.tensors[id.index()].name);
}

void append_op(Buffer& out, const Op& op, const Role& role) {
  append(out, "  {} {} {} {} {}", name_of(op.stream), op.name, name_of(op.kind), foretoken::name_of(op.dtype),
         std::visit(DetailText{}, op.detail));
  append_names(out, "in", op.inputs, role);
  append_names(out, "out", op.outputs, role);
  if (!op.dependencies.empty()) append(out, " after");
  for (const Dependency& dependency : op.dependencies)
    append(out, " {}{}", role.ops[dependency.op.index()].name, dependency.distance == 0 ? "" : "@previous");
  if (op.arrival_set >= 0) append(out, " arrival_set={}", op.arrival_set);
  append(out, "\n");
}

const char* kind_name(TensorKind kind) {
  switch (kind) {
    case TensorKind::activation: return "activation";
    case TensorKind::weight: return "weight";
    case TensorKind::kv_cache: return "kv_cache";
  }
  return "?";
}

}  // namespace

std::string to_text(const Program& program) {
  Buffer out;
  append(out, "foretoken program 1\nranks {}\ntokens_per_step {}\nplacement {}\n", program.ranks, program.tokens,
         program.placement);
  for (const GroupFamily& group : program.groups)
    append(out, "group {} size {} stride {}\n", group.name, group.size, group.stride);
  for (std::size_t i = 0; i < program.communications.size(); ++i) {
    const Communication& c = program.communications[i];
    append(out, "comm {} {} {} group {} {} {}{}", i, c.name, name_of(c.kind),
           c.group.valid() ? program.groups[c.group.index()].name : std::string("-"), foretoken::name_of(c.algorithm),
           foretoken::name_of(c.dtype), c.exchange == ExchangeAlgorithm::hierarchical ? " hierarchical" : "");
    if (c.slots > 0) append(out, " slots {}+{}", c.header_rows, c.slots);
    append(out, "\n");
  }
  for (const Role& role : program.roles) {
    append(out, "role {} ranks", role.name);
    append_ranks(out, role.ranks);
    append(out, "\n");
    for (const Tensor& tensor : role.tensors)
      append(out, "  tensor {} {} {} {}x{}x{}{}\n", tensor.name, kind_name(tensor.kind),
             foretoken::name_of(tensor.dtype), tensor.stack, shown(tensor.rows), tensor.cols, shown(tensor.packing));
    for (const Op& op : role.ops) append_op(out, op, role);
  }
  return fmt::to_string(out);
}

std::string hash_of(const std::string& canonical_text) {
  const XXH128_hash_t hash = XXH3_128bits(canonical_text.data(), canonical_text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

}  // namespace foretoken::plan
