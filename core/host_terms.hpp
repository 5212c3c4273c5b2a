// The terms of what an op costs a CPU core: time = sum over terms of (amount of the op x seconds per unit).
//
// Which op has how much of which term is sim/cost/host_amounts.hpp; what a unit of each costs on one computer is fitted
// by calibrate/measure and kept in a HostCalibration. Every term is something that the runtime's verbs visibly do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace foretoken {

/// Terms that are fitted together, because one kind of kernel has them.
enum class HostFamily : std::uint8_t {
  product,          // gemm, the experts of grouped_gemm, the router's product: more than one row
  vector_product,   // the same with one row: another kernel of the BLAS
  attention,        // one query head per KV head: matrix times vector
  group_attention,  // several: matrix times matrix
  norm,
  rope_kv,
  activation,
  copy,  // permute, input
  unpermute,
  add,
  choose,  // softmax over a token's experts
  sample,  // step_end: the largest of each row
  communication,
};

constexpr std::array<std::string_view, 13> kHostFamilyNames{
    "product", "vector_product", "attention", "group_attention", "norm",   "rope_kv",      "activation",
    "copy",    "unpermute",      "add",       "choose",          "sample", "communication"};

constexpr std::string_view name_of(HostFamily family) { return kHostFamilyNames[static_cast<std::size_t>(family)]; }

/// In order of family. An `element` is one fp32 number.
enum class HostTerm : std::uint8_t {
  product_call,     // products: one per expert with rows
  product_weights,  // weights read and packed: n k per product
  product_memory,   // nanoseconds that streaming the weights takes beyond streaming them from the nearest cache
  product_rows4,    // rows in whole tiles of four x n k
  product_rows2,    // a tile of two left over: n k
  product_rows1,    // a tile of one left over: n k
  product_edges,    // rows x (n + k): activations packed, results written
  vector_call,
  vector_weights,
  vector_memory,
  vector_cold,       // see norm_cold
  attention_items,   // sequences x KV heads
  attention_kv,      // elements of K and V
  attention_memory,  // as product_memory, for the KV cache
  attention_scores,  // sequences x heads x context
  group_items,
  group_kv,
  group_memory,
  group_scores,
  group_products,  // 2 x scores x head_dim: multiplications
  norm_call,
  norm_elements,
  norm_added,   // elements, where a residual is added first
  norm_memory,  // as product_memory, for what is written: nobody has touched it since the step before
  norm_cold,    // as product_memory, for 4 KiB: what every op needs again (code, tables of pages) and finds no nearer
  rope_call,
  rope_elements,  // q, k and v
  rope_memory,    // of the K and V that are appended
  rope_cold,
  activation_call,
  activation_elements,
  activation_gates,  // elements times a gate
  activation_cold,
  copy_call,
  copy_rows,
  copy_elements,
  copy_memory,
  copy_cold,
  unpermute_call,
  unpermute_rows,      // read
  unpermute_elements,  // read
  unpermute_written,   // elements
  unpermute_memory,
  unpermute_cold,
  add_call,
  add_elements,
  add_memory,
  add_cold,
  choose_rows,
  choose_choices,  // rows x top_k
  sample_call,
  sample_elements,
  communication_ops,
  communication_rounds,
  communication_messages,  // sent or received
  communication_bytes,     // sent or received
  communication_added,     // bytes of partial sums
  communication_copied,    // bytes that stay on the rank
};

struct HostTermName {
  HostFamily family;
  std::string_view name;  // within the family
};

constexpr std::array<HostTermName, 58> kHostTerms{{{HostFamily::product, "call"},
                                                   {HostFamily::product, "weights"},
                                                   {HostFamily::product, "memory"},
                                                   {HostFamily::product, "rows4"},
                                                   {HostFamily::product, "rows2"},
                                                   {HostFamily::product, "rows1"},
                                                   {HostFamily::product, "edges"},
                                                   {HostFamily::vector_product, "call"},
                                                   {HostFamily::vector_product, "weights"},
                                                   {HostFamily::vector_product, "memory"},
                                                   {HostFamily::vector_product, "cold"},
                                                   {HostFamily::attention, "items"},
                                                   {HostFamily::attention, "kv"},
                                                   {HostFamily::attention, "memory"},
                                                   {HostFamily::attention, "scores"},
                                                   {HostFamily::group_attention, "items"},
                                                   {HostFamily::group_attention, "kv"},
                                                   {HostFamily::group_attention, "memory"},
                                                   {HostFamily::group_attention, "scores"},
                                                   {HostFamily::group_attention, "products"},
                                                   {HostFamily::norm, "call"},
                                                   {HostFamily::norm, "elements"},
                                                   {HostFamily::norm, "added"},
                                                   {HostFamily::norm, "memory"},
                                                   {HostFamily::norm, "cold"},
                                                   {HostFamily::rope_kv, "call"},
                                                   {HostFamily::rope_kv, "elements"},
                                                   {HostFamily::rope_kv, "memory"},
                                                   {HostFamily::rope_kv, "cold"},
                                                   {HostFamily::activation, "call"},
                                                   {HostFamily::activation, "elements"},
                                                   {HostFamily::activation, "gates"},
                                                   {HostFamily::activation, "cold"},
                                                   {HostFamily::copy, "call"},
                                                   {HostFamily::copy, "rows"},
                                                   {HostFamily::copy, "elements"},
                                                   {HostFamily::copy, "memory"},
                                                   {HostFamily::copy, "cold"},
                                                   {HostFamily::unpermute, "call"},
                                                   {HostFamily::unpermute, "rows"},
                                                   {HostFamily::unpermute, "elements"},
                                                   {HostFamily::unpermute, "written"},
                                                   {HostFamily::unpermute, "memory"},
                                                   {HostFamily::unpermute, "cold"},
                                                   {HostFamily::add, "call"},
                                                   {HostFamily::add, "elements"},
                                                   {HostFamily::add, "memory"},
                                                   {HostFamily::add, "cold"},
                                                   {HostFamily::choose, "rows"},
                                                   {HostFamily::choose, "choices"},
                                                   {HostFamily::sample, "call"},
                                                   {HostFamily::sample, "elements"},
                                                   {HostFamily::communication, "ops"},
                                                   {HostFamily::communication, "rounds"},
                                                   {HostFamily::communication, "messages"},
                                                   {HostFamily::communication, "bytes"},
                                                   {HostFamily::communication, "added"},
                                                   {HostFamily::communication, "copied"}}};

static_assert(static_cast<std::size_t>(HostTerm::communication_copied) + 1 == kHostTerms.size());

constexpr HostFamily family_of(HostTerm term) { return kHostTerms[static_cast<std::size_t>(term)].family; }

/// How much an op has of each term, or what a unit of each costs (in seconds).
class HostTerms {
 public:
  constexpr double& operator[](HostTerm term) { return values_[static_cast<std::size_t>(term)]; }
  constexpr double operator[](HostTerm term) const { return values_[static_cast<std::size_t>(term)]; }
  constexpr HostTerms& operator+=(const HostTerms& other) {
    for (std::size_t t = 0; t < values_.size(); ++t) values_[t] += other.values_[t];
    return *this;
  }
  /// Sum over terms of amount x cost.
  friend constexpr double dot(const HostTerms& a, const HostTerms& b) {
    double sum = 0;
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) sum += a.values_[t] * b.values_[t];
    return sum;
  }

 private:
  std::array<double, kHostTerms.size()> values_{};
};

}  // namespace foretoken
