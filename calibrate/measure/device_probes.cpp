#include "calibrate/measure/device_probes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <map>
#include <numeric>
#include <set>

#include "calibrate/import/network_samples.hpp"
#include "core/random.hpp"

namespace foretoken::calibrate {
namespace {

using runtime::cuda::LaunchLayout;
using runtime::cuda::MessageKind;
using runtime::cuda::MessageProbe;
using runtime::cuda::Probe;
using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): the probes' names

constexpr std::array<DType, 3> kTypes{DType::bf16, DType::fp16, DType::fp32};
constexpr std::array<std::int64_t, 6> kWidths{512, 1024, 2048, 4096, 8192, 16384};
constexpr std::int64_t kRowsMax = 8192;
// A product of fp32 runs a tenth as fast as one of bf16: so it gets fewer rows.
constexpr std::int64_t kRowsMaxFp32 = 1024;

struct Heads {
  std::int64_t heads;
  std::int64_t kv_heads;
  std::int64_t head_dim;
};
constexpr std::array<Heads, 4> kHeads{{{32, 8, 128}, {64, 8, 128}, {8, 1, 128}, {16, 16, 64}}};

void add_products(std::vector<Probe>& probes, DType dtype) {
  const std::int64_t rows_max = dtype == DType::fp32 ? kRowsMaxFp32 : kRowsMax;
  for (const std::int64_t n : kWidths)
    for (const std::int64_t k : kWidths)
      for (std::int64_t m = 1; m <= rows_max; m *= 2) probes.emplace_back(GemmProbe{dtype, m, n, k});
}

void add_experts(std::vector<Probe>& probes, DType dtype) {
  for (const std::int64_t experts : {8, 32})
    for (const std::int64_t rows : {1, 4, 16, 64, 256})
      for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{4096, 7168}, {7168, 2048}, {1408, 2048}})
        probes.emplace_back(ExpertGemmProbe{dtype, experts, rows, n, k});
}

void add_attention(std::vector<Probe>& probes, DType dtype, Bytes largest) {
  for (const Heads& heads : kHeads)
    for (std::int64_t batch = 1; batch <= 256; batch *= 2)
      for (std::int64_t context = 16; context <= 65536; context *= 2) {
        const std::int64_t bytes = 2 * batch * context * heads.kv_heads * heads.head_dim * bytes_per_element(dtype);
        if (bytes <= largest.value())
          probes.emplace_back(AttentionProbe{dtype, batch, context, heads.heads, heads.kv_heads, heads.head_dim});
      }
}

void add_memory(std::vector<Probe>& probes) {
  for (const bool cold : {false, true})
    for (std::int64_t bytes = std::int64_t{1} << 14; bytes <= std::int64_t{1} << 28; bytes *= 4)
      probes.emplace_back(CopyProbe{Bytes(bytes), cold});
  for (const RowwiseKind kind : {RowwiseKind::norm, RowwiseKind::rope, RowwiseKind::permute, RowwiseKind::activation})
    for (const std::int64_t cols : {2048, 8192})
      for (std::int64_t rows = 4; rows <= 16384; rows *= 4)
        probes.emplace_back(RowwiseProbe{kind, DType::bf16, rows, cols});
}

// Beside ranks of one node those on several, as many on each.
std::vector<std::pair<std::int64_t, std::int64_t>> groups_of(const LaunchLayout& layout) {
  std::vector<std::pair<std::int64_t, std::int64_t>> groups;  // (ranks, nodes)
  const auto doublings = [](std::int64_t from, std::int64_t all) {
    std::vector<std::int64_t> sizes;
    for (std::int64_t size = from; size < all; size *= 2) sizes.push_back(size);
    if (all >= from) sizes.push_back(all);
    return sizes;
  };
  const std::int64_t on_node = layout.ranks_per_node();
  for (const std::int64_t ranks : doublings(2, on_node)) groups.emplace_back(ranks, 1);
  for (const std::int64_t nodes : doublings(2, layout.nodes())) {
    groups.emplace_back(nodes * on_node, nodes);
    if (on_node > 1) groups.emplace_back(nodes, nodes);
  }
  return groups;
}

std::vector<std::string> algorithms_of(MessageKind kind, std::int64_t ranks, std::int64_t nodes, bool multicast) {
  if (kind == MessageKind::all_to_all || kind == MessageKind::send_recv) return {""};
  std::vector<std::string> algorithms{"ring"};
  if (kind != MessageKind::all_reduce) return algorithms;
  if (nodes > 1) algorithms.emplace_back("tree");
  if (multicast && nodes == 1 && ranks > 2) algorithms.emplace_back("nvls");
  if (multicast && nodes > 1 && ranks > nodes) algorithms.emplace_back("nvlstree");
  return algorithms;
}

std::vector<std::int64_t> sizes_of(MessageKind kind, std::int64_t ranks) {
  std::vector<std::int64_t> sizes;
  if (kind == MessageKind::all_to_all) {
    for (const ExchangedTokens& one : exchanged_tokens()) {
      const std::int64_t rows = one.tokens * one.top_k;
      for (const Bytes row :
           {dispatch_row_bytes(static_cast<int>(one.hidden)), combine_row_bytes(static_cast<int>(one.hidden))})
        sizes.push_back(rows * row.value());
    }
    return sizes;
  }
  // Whole elements of two bytes for every rank.
  for (std::int64_t bytes = 1024; bytes <= std::int64_t{512} << 20; bytes *= 2)
    if (const std::int64_t even = bytes / (2 * ranks) * (2 * ranks); even > 0) sizes.push_back(even);
  return sizes;
}

// What probes share that must not be torn apart: "" for those of one GPU.
std::string block_of(const Probe& probe) {
  const auto* const message = std::get_if<MessageProbe>(&probe);
  return message == nullptr ? "" : message->algorithm;
}

}  // namespace

std::vector<ExchangedTokens> exchanged_tokens() {
  std::vector<ExchangedTokens> all;
  for (const std::int64_t tokens : {1, 8, 64, 512, 4096}) all.push_back({7168, tokens, 8});
  for (const std::int64_t tokens : {8, 64, 512}) all.push_back({2048, tokens, 8});
  return all;
}

std::vector<Probe> gpu_probes(const DeviceSpec& device) {
  std::vector<Probe> probes;
  const Bytes largest(device.memory.value() / 4);
  for (const DType dtype : kTypes)
    if (device.peak(dtype)) add_products(probes, dtype);
  add_experts(probes, DType::bf16);
  add_attention(probes, DType::bf16, largest);
  add_memory(probes);
  for (const bool graph : {false, true})
    for (const bool on_device : {false, true})
      for (const std::int64_t kernels : {16, 128}) probes.emplace_back(LaunchProbe{graph, on_device, kernels});
  return probes;
}

std::vector<MessageProbe> message_probes(const LaunchLayout& layout, bool multicast) {
  std::vector<MessageProbe> probes;
  for (const auto& [ranks, nodes] : groups_of(layout)) {
    for (const MessageKind kind : {MessageKind::all_reduce, MessageKind::all_gather, MessageKind::reduce_scatter,
                                   MessageKind::all_to_all, MessageKind::send_recv}) {
      if (kind == MessageKind::send_recv && ranks != 2) continue;  // from one to one
      for (const std::string& algorithm : algorithms_of(kind, ranks, nodes, multicast)) {
        const std::vector<std::int64_t> sizes = sizes_of(kind, ranks);
        for (const std::int64_t bytes : sizes) probes.push_back({kind, algorithm, ranks, nodes, Bytes(bytes), false});
        for (const std::size_t at : {sizes.size() / 4, sizes.size() / 2, sizes.size() - 1})
          if (at < sizes.size()) probes.push_back({kind, algorithm, ranks, nodes, Bytes(sizes[at]), true});
      }
    }
  }
  // Sizes of different tokens may be the same.
  std::set<std::string> known;
  std::vector<MessageProbe> distinct;
  for (const MessageProbe& probe : probes)
    if (known.insert(name_of(Probe(probe))).second) distinct.push_back(probe);
  return distinct;
}

void shuffle_probes(std::vector<Probe>& probes, std::int64_t seed) {
  RandomSequence random(static_cast<std::uint64_t>(seed), 0, 0, 0);
  for (std::size_t i = probes.size(); i > 1; --i) std::swap(probes[i - 1], probes[random.below(i)]);
  std::stable_sort(probes.begin(), probes.end(),
                   [](const Probe& a, const Probe& b) { return block_of(a) < block_of(b); });
}

}  // namespace foretoken::calibrate
