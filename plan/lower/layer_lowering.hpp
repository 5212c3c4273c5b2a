// What a transformer layer becomes on one role, for one micro-batch, phase by phase.
//
// Two families of layer, by how experts exchange tokens:
//   all_reduce  every rank of the TP group holds all T tokens; partial sums are added by all_reduce, after attention
//   and
//               after the experts.
//   dispatch    every rank owns a slice of its replica's tokens (all of them when tp = 1). With tp > 1 the slices are
//               all-gathered before attention and reduce-scattered after it (sequence parallelism); token rows travel
//               to the ranks of their experts and back. Where a token is sent once per node (hierarchical), its
//               exchanges take rows from tokens and add them up themselves: nothing is packed or unpermuted.
//
// A layer is cut into phases at its communications, so that lower.cpp can interleave two micro-batches phase by phase.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/lower/role_builder.hpp"
#include "plan/machine/machine.hpp"
#include "plan/placement.hpp"
#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

/// What all roles share.
struct LoweringContext {
  const Scenario& scenario;
  const Placement& placement;
  const Machine& machine;
  const std::vector<std::int64_t>& layers;  // ascending
  CommunicationTable communications;
  GroupId tp_group;
  GroupId ep_group;
  std::int64_t nodes_of_tp_group = 1;  // the most that any TP group spans
};

/// Where a micro-batch stands between two phases.
struct MicroBatchState {
  std::int64_t index = 0;
  std::int64_t tokens = 0;  // of the replica
  std::int64_t owned = 0;   // rows of the residual stream on this rank: the slice, or all tokens
  TensorId residual;
  TensorId delta;                  // still to be added to the residual; invalid if none
  TensorId normed;                 // input of the layer's next part
  TensorId routes;                 // experts and weights of the owned tokens
  TensorId counts;                 // dispatch_mode exact: rows of the owned tokens by expert
  std::int64_t routed_layer = -1;  // the layer that `routes` and `returned` belong to
  TensorId shared;                 // output of the shared experts; invalid if there are none
  std::vector<TensorId> arrived;   // [chunk] rows at this host
  std::vector<TensorId> computed;  // [chunk] expert outputs at this host
  std::vector<TensorId> weights;   // [chunk] of the rows at this host; where a token is sent once per node
  TensorId returned;               // expert outputs of the owned tokens, back at their rank
};

class LayerLowering {
 public:
  /// @param rank any rank of the role
  LayerLowering(LoweringContext& context, RoleBuilder& builder, RankId rank);

  /// Phases of a layer in order. Each ends where its last op is a communication that later phases wait for.
  enum class Phase : std::uint8_t { gather, attention, route, experts };
  void lower(Phase phase, std::int64_t layer, MicroBatchState& batch);

  /// The hidden states of the step's tokens from the embedding, whose rows the TP group shares.
  void embed(MicroBatchState& batch, TensorId tokens);
  /// The last norm, and logits of each rank's part of the vocabulary. Which part has the greatest, and sampling from
  /// them, is not in the program.
  /// @return the logits
  TensorId lm_head(MicroBatchState& batch);

  /// Adds what is pending to the residual; the micro-batch's hidden states are then in `residual`.
  void finish(MicroBatchState& batch);

  /// Emits a collective over the TP group on `tensor`, which stays or becomes `rows` x `cols` in full.
  TensorId collective(OpKind kind, const std::string& name, const std::string& output, TensorId tensor,
                      std::int64_t tokens, std::int64_t rows_out, std::int64_t layer, const MicroBatchState& batch);

  // What a layer becomes is in layer_lowering.cpp, its attention in attention_lowering.cpp, embedding and LM head in
  // vocabulary_lowering.cpp.
  [[nodiscard]] bool sliced() const { return sliced_; }

 private:
  void attention(std::int64_t layer, MicroBatchState& batch);
  TensorId grouped_query_attention(std::int64_t layer, const MicroBatchState& batch);
  TensorId latent_attention(std::int64_t layer, const MicroBatchState& batch);
  TensorId per_head(WeightKind kind, std::int64_t layer, const MicroBatchState& batch, TensorId input,
                    std::int64_t heads, std::int64_t n, std::int64_t k);
  TensorId kv_cache(std::int64_t layer, const MicroBatchState& batch, std::int64_t cols);
  void gather(std::int64_t layer, MicroBatchState& batch);
  void route_and_dispatch(std::int64_t layer, MicroBatchState& batch);
  TensorId pack(std::int64_t layer, MicroBatchState& batch);
  void dispatch(std::int64_t layer, MicroBatchState& batch);
  void exchange_counts(std::int64_t layer, const MicroBatchState& batch, std::int64_t chunk);
  Communication exchange_communication(OpKind kind, std::int64_t layer, const MicroBatchState& batch,
                                       std::int64_t chunk) const;
  void experts(std::int64_t layer, MicroBatchState& batch);
  void replicated_experts(std::int64_t layer, MicroBatchState& batch);
  void hosted_experts(std::int64_t layer, MicroBatchState& batch);
  void dense_mlp(std::int64_t layer, MicroBatchState& batch);
  TensorId shared_experts(std::int64_t layer, const MicroBatchState& batch, std::int64_t rows);
  TensorId expert_chain(std::int64_t layer, const MicroBatchState& batch, std::int64_t chunk, std::int32_t arrival_set,
                        TensorId input);
  void combine_arrivals(std::int64_t layer, MicroBatchState& batch);
  void norm(std::int64_t layer, MicroBatchState& batch, WeightKind kind);
  void settle(MicroBatchState& batch);

  Op op(OpKind kind, const std::string& name, std::int64_t layer, const MicroBatchState& batch, OpDetail detail) const;
  TensorId activation(const std::string& name, Extent rows, std::int64_t cols);
  TensorId dispatched(const std::string& name, Extent rows);
  [[nodiscard]] WeightFormat format_of(WeightKind kind) const;
  [[nodiscard]] std::int64_t vocabulary_per_rank() const;
  TensorId weight(WeightKind kind, std::int64_t layer, std::int64_t stack, std::int64_t rows, std::int64_t cols);
  TensorId gemm(WeightKind kind, std::int64_t layer, const MicroBatchState& batch, TensorId input, std::int64_t rows,
                std::int64_t n, std::int64_t k);
  [[nodiscard]] RowwiseOp permutation(Extent rows, RowOrder order) const;
  [[nodiscard]] bool once_per_node() const { return deployment_.exchange_algorithm == ExchangeAlgorithm::hierarchical; }
  [[nodiscard]] bool dense(std::int64_t layer) const { return model_.dense(layer); }
  [[nodiscard]] Stream communication_stream() const;
  [[nodiscard]] Stream exchange_stream(std::int64_t chunk) const;
  [[nodiscard]] std::int64_t local_experts(std::int64_t layer) const;
  [[nodiscard]] bool source_of(std::int64_t chunk) const;
  [[nodiscard]] std::int64_t expert_hidden_per_rank() const;

  LoweringContext& context_;
  RoleBuilder& builder_;
  const ModelSpec& model_;
  const DeploymentSpec& deployment_;
  std::int64_t ep_index_;
  bool sliced_;
  std::int32_t next_arrival_set_ = 0;
};

/// The algorithm a collective is carried out by: the scenario's, or for `auto` what NCCL would take.
CollectiveAlgorithm choose_algorithm(CollectiveChoice choice, OpKind kind, std::int64_t ranks, std::int64_t nodes,
                                     std::int64_t bytes, bool nvls_available);

}  // namespace foretoken::plan
