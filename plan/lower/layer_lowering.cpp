#include "plan/lower/layer_lowering.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "plan/program/exchange_slots.hpp"
#include "plan/program/node_rows.hpp"

namespace foretoken::plan {
namespace {

std::string prefix(std::int64_t layer, const MicroBatchState& batch) {
  return layer < 0 ? fmt::format("m{}.", batch.index) : fmt::format("l{}.m{}.", layer, batch.index);
}

std::string chunk_suffix(std::int64_t chunk) { return chunk < 0 ? std::string() : fmt::format(".c{}", chunk); }

}  // namespace

CollectiveAlgorithm choose_algorithm(CollectiveChoice choice, OpKind kind, std::int64_t ranks, std::int64_t nodes,
                                     std::int64_t bytes, bool nvls_available) {
  switch (choice) {
    case CollectiveChoice::ring: return CollectiveAlgorithm::ring;
    case CollectiveChoice::direct: return CollectiveAlgorithm::direct;
    case CollectiveChoice::nvls: return CollectiveAlgorithm::nvls;
    case CollectiveChoice::tree: return CollectiveAlgorithm::tree;
    case CollectiveChoice::nvls_tree: return CollectiveAlgorithm::nvls_tree;
    case CollectiveChoice::automatic: break;
  }
  if (kind != OpKind::all_reduce) return CollectiveAlgorithm::ring;
  return choose_all_reduce(static_cast<int>(ranks), static_cast<int>(nodes), Bytes(bytes), nvls_available);
}

LayerLowering::LayerLowering(LoweringContext& context, RoleBuilder& builder, RankId rank)
    : context_(context),
      builder_(builder),
      model_(context.scenario.model),
      deployment_(context.scenario.deployment),
      ep_index_(context.placement.ep_index_of(rank)),
      sliced_(context.scenario.deployment.exchange == ExpertExchange::dispatch) {}

// ---- small helpers -------------------------------------------------------------------------------------------------

Op LayerLowering::op(OpKind kind, const std::string& name, std::int64_t layer, const MicroBatchState& batch,
                     OpDetail detail) const {
  Op result;
  result.name = prefix(layer, batch) + name;
  result.kind = kind;
  result.dtype = model_.activation_dtype;
  result.layer = static_cast<std::int16_t>(layer);
  result.micro_batch = static_cast<std::int16_t>(batch.index);
  result.detail = detail;
  return result;
}

TensorId LayerLowering::activation(const std::string& name, Extent rows, std::int64_t cols) {
  return builder_.tensor(Tensor{name, TensorKind::activation, model_.activation_dtype, 1, rows, cols});
}

// Rows on their way to the experts.
TensorId LayerLowering::dispatched(const std::string& name, Extent rows) {
  return builder_.tensor(Tensor{name, TensorKind::activation, model_.dispatch_dtype, 1, rows, model_.hidden});
}

WeightFormat LayerLowering::format_of(WeightKind kind) const {
  switch (kind) {
    case WeightKind::expert_up:
    case WeightKind::expert_down: return model_.expert_format;
    case WeightKind::attention_norm:
    case WeightKind::mlp_norm:
    case WeightKind::latent_norm:
    case WeightKind::output_norm:
    case WeightKind::router:
    case WeightKind::embedding:
    case WeightKind::lm_head: return {model_.activation_dtype, Packing::none};
    default: return {model_.weight_dtype, Packing::none};
  }
}

TensorId LayerLowering::weight(WeightKind kind, std::int64_t layer, std::int64_t stack, std::int64_t rows,
                               std::int64_t cols) {
  const WeightFormat format = format_of(kind);
  return builder_.weight(
      Tensor{layer < 0 ? fmt::format("w_{}", name_of(kind)) : fmt::format("l{}.w_{}", layer, name_of(kind)),
             TensorKind::weight, format.dtype, stack, Extent::fixed(rows), cols, kind, static_cast<std::int16_t>(layer),
             format.packing});
}

TensorId LayerLowering::gemm(WeightKind kind, std::int64_t layer, const MicroBatchState& batch, TensorId input,
                             std::int64_t rows, std::int64_t n, std::int64_t k) {
  const std::string name(name_of(kind));
  Op product = op(OpKind::gemm, name, layer, batch, GemmOp{Extent::fixed(rows), n, k});
  product.dtype = format_of(kind).dtype;
  const TensorId output = activation(prefix(layer, batch) + name, Extent::fixed(rows), n);
  product.inputs = {input, weight(kind, layer, 1, k, n)};
  product.outputs = {output};
  builder_.emit(std::move(product));
  return output;
}

RowwiseOp LayerLowering::permutation(Extent rows, RowOrder order) const {
  return RowwiseOp{rows, model_.hidden, false, false, 0, order};
}

Stream LayerLowering::communication_stream() const {
  return deployment_.overlap == Overlap::two_batch ? kCommunication : kCompute;
}

Stream LayerLowering::exchange_stream(std::int64_t chunk) const {
  if (chunk < 0) return communication_stream();
  return Stream{static_cast<std::int16_t>(kFirstExchange + chunk)};
}

std::int64_t LayerLowering::local_experts(std::int64_t layer) const {
  return static_cast<std::int64_t>(context_.placement.experts_on(layer, ep_index_).size());
}

bool LayerLowering::source_of(std::int64_t chunk) const {
  if (chunk < 0) return true;
  const Range sources = context_.placement.chunk_sources(chunk);
  return ep_index_ >= sources.begin && ep_index_ < sources.end;
}

std::int64_t LayerLowering::expert_hidden_per_rank() const {
  return deployment_.placement == ExpertPlacement::sharded ? model_.expert_hidden / deployment_.ep
                                                           : model_.expert_hidden;
}

TensorId LayerLowering::collective(OpKind kind, const std::string& name, const std::string& output, TensorId tensor,
                                   std::int64_t tokens, std::int64_t rows_out, std::int64_t layer,
                                   const MicroBatchState& batch) {
  const std::int64_t cols = builder_[tensor].cols;
  const DType dtype = builder_[tensor].dtype;
  // Replicas may differ by one token; the choice is made for the largest, so that all make the same one.
  const std::int64_t tokens_max = context_.placement.sequences(0, batch.index).size();
  const CollectiveChoice choice = kind == OpKind::all_reduce   ? deployment_.all_reduce
                                  : kind == OpKind::all_gather ? deployment_.all_gather
                                                               : deployment_.reduce_scatter;
  Communication communication;
  communication.name = prefix(layer, batch) + name;
  communication.kind = kind;
  communication.group = context_.tp_group;
  communication.algorithm = choose_algorithm(choice, kind, deployment_.tp, context_.nodes_of_tp_group,
                                             tokens_max * cols * bytes_per_element(dtype), context_.machine.nvls());
  communication.dtype = dtype;
  communication.layer = static_cast<std::int16_t>(layer);
  communication.micro_batch = static_cast<std::int16_t>(batch.index);

  Op exchange = op(kind, name, layer, batch,
                   CollectiveOpDetail{context_.communications.get(std::move(communication)), tokens, cols});
  exchange.dtype = dtype;
  exchange.stream = communication_stream();
  const TensorId result = activation(prefix(layer, batch) + output, Extent::fixed(rows_out), cols);
  exchange.inputs = {tensor};
  exchange.outputs = {result};
  builder_.emit(std::move(exchange));
  return result;
}

// ---- the phases ----------------------------------------------------------------------------------------------------

void LayerLowering::lower(Phase phase, std::int64_t layer, MicroBatchState& batch) {
  switch (phase) {
    case Phase::gather: gather(layer, batch); return;
    case Phase::attention: attention(layer, batch); return;
    case Phase::route: route_and_dispatch(layer, batch); return;
    case Phase::experts: experts(layer, batch); return;
  }
}

// Residual add (of what the part before left in `delta`) and RMS norm in one pass, as serving kernels do it.
void LayerLowering::norm(std::int64_t layer, MicroBatchState& batch, WeightKind kind) {
  const bool add = batch.delta.valid();
  Op pass = op(OpKind::norm, std::string(name_of(kind)), layer, batch,
               RowwiseOp{Extent::fixed(batch.owned), model_.hidden, add});
  pass.inputs = {batch.residual};
  batch.normed = activation(pass.name, Extent::fixed(batch.owned), model_.hidden);
  pass.outputs = {batch.normed};
  if (add) {
    pass.inputs.push_back(batch.delta);
    batch.residual = activation(pass.name + ".residual", Extent::fixed(batch.owned), model_.hidden);
    pass.outputs.push_back(batch.residual);
    batch.delta = TensorId();
  }
  pass.inputs.push_back(weight(kind, layer, 1, 1, model_.hidden));
  builder_.emit(std::move(pass));
}

// Expert outputs of this rank's own tokens, weighted and summed, become the pending addition.
void LayerLowering::settle(MicroBatchState& batch) {
  if (!batch.returned.valid()) return;
  const std::int64_t layer = batch.routed_layer;
  if (once_per_node()) {
    batch.delta = batch.returned;
  } else {
    const Extent rows = Extent::fixed(batch.owned * model_.top_k);
    Op sum =
        op(OpKind::unpermute, "unpermute", layer, batch, RowwiseOp{rows, model_.hidden, false, false, batch.owned});
    sum.inputs = {batch.returned, batch.routes};
    batch.delta = activation(sum.name, Extent::fixed(batch.owned), model_.hidden);
    sum.outputs = {batch.delta};
    builder_.emit(std::move(sum));
  }
  batch.returned = TensorId();
  if (!batch.shared.valid()) return;
  Op add = op(OpKind::add, "add_shared", layer, batch, RowwiseOp{Extent::fixed(batch.owned), model_.hidden});
  add.inputs = {batch.delta, batch.shared};
  batch.delta = activation(add.name, Extent::fixed(batch.owned), model_.hidden);
  add.outputs = {batch.delta};
  builder_.emit(std::move(add));
  batch.shared = TensorId();
}

void LayerLowering::gather(std::int64_t layer, MicroBatchState& batch) {
  settle(batch);
  norm(layer, batch, WeightKind::attention_norm);
  if (sliced_ && deployment_.tp > 1)
    batch.normed = collective(OpKind::all_gather, "attention_all_gather", "attention_input", batch.normed, batch.tokens,
                              batch.tokens, layer, batch);
}

void LayerLowering::attention(std::int64_t layer, MicroBatchState& batch) {
  const TensorId attended = model_.latent ? latent_attention(layer, batch) : grouped_query_attention(layer, batch);
  const std::int64_t rows = batch.tokens;
  const std::int64_t value_dim = model_.latent ? model_.latent->value_dim : model_.head_dim;
  batch.delta =
      gemm(WeightKind::o_proj, layer, batch, attended, rows, model_.hidden, model_.heads / deployment_.tp * value_dim);
  if (deployment_.tp == 1) return;
  batch.delta = sliced_ ? collective(OpKind::reduce_scatter, "attention_reduce_scatter", "attention_output",
                                     batch.delta, rows, batch.owned, layer, batch)
                        : collective(OpKind::all_reduce, "attention_all_reduce", "attention_output", batch.delta, rows,
                                     rows, layer, batch);
}

void LayerLowering::route_and_dispatch(std::int64_t layer, MicroBatchState& batch) {
  norm(layer, batch, WeightKind::mlp_norm);
  if (dense(layer)) {
    if (sliced_ && deployment_.tp > 1)
      batch.normed = collective(OpKind::all_gather, "mlp_all_gather", "mlp_input", batch.normed, batch.tokens,
                                batch.tokens, layer, batch);
    return;
  }
  Op route =
      op(OpKind::route, "route", layer, batch, RouteOp{batch.owned, model_.hidden, model_.experts, model_.top_k});
  batch.routed_layer = layer;
  // Expert index and weight of each choice.
  batch.routes = builder_.tensor(
      Tensor{route.name, TensorKind::activation, DType::fp32, 1, Extent::fixed(batch.owned), 2 * model_.top_k});
  route.inputs = {batch.normed, weight(WeightKind::router, layer, 1, model_.hidden, model_.experts)};
  route.outputs = {batch.routes};
  builder_.emit(std::move(route));
  if (sliced_) dispatch(layer, batch);
}

TensorId LayerLowering::pack(std::int64_t layer, MicroBatchState& batch) {
  const Extent rows = Extent::fixed(batch.owned * model_.top_k);
  Op pack = op(OpKind::permute, "pack", layer, batch, permutation(rows, RowOrder::pack));
  const TensorId packed = dispatched(pack.name, rows);
  pack.inputs = {batch.normed, batch.routes};
  pack.outputs = {packed};
  if (deployment_.dispatch_mode == DispatchMode::exact) {
    batch.counts = builder_.tensor(
        Tensor{pack.name + ".counts", TensorKind::activation, DType::int32, 1, Extent::fixed(1), model_.experts});
    pack.outputs.push_back(batch.counts);
  }
  builder_.emit(std::move(pack));
  return packed;
}

void LayerLowering::dispatch(std::int64_t layer, MicroBatchState& batch) {
  const std::vector<TensorId> sent =
      once_per_node() ? std::vector{batch.normed, batch.routes} : std::vector{pack(layer, batch)};
  const std::int64_t cols = model_.hidden + (once_per_node() ? weight_cols(model_) : 0);
  const std::int64_t experts_here = local_experts(layer);
  const bool chunked = deployment_.overlap == Overlap::micro_stages;
  const std::int64_t chunks = chunked ? deployment_.chunks : 1;
  batch.arrived.assign(static_cast<std::size_t>(chunks), TensorId());
  batch.weights.assign(static_cast<std::size_t>(chunks), TensorId());
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::int64_t chunk = chunked ? c : -1;
    const bool source = source_of(chunk);
    if (!source && experts_here == 0) continue;
    if (deployment_.dispatch_mode == DispatchMode::exact) exchange_counts(layer, batch, chunk);
    Op send = op(OpKind::dispatch, "dispatch" + chunk_suffix(chunk), layer, batch,
                 ExchangeOp{context_.communications.get(exchange_communication(OpKind::dispatch, layer, batch, chunk)),
                            source, experts_here > 0, source ? batch.owned * model_.top_k : 0, cols});
    send.chunk = static_cast<std::int16_t>(chunk);
    send.dtype = model_.dispatch_dtype;
    send.stream = exchange_stream(chunk);
    if (source) send.inputs = sent;
    if (experts_here > 0) {
      const Extent rows = Extent::routed(layer, batch.index, chunk);
      TensorId& arrived = batch.arrived[static_cast<std::size_t>(c)];
      arrived = dispatched(send.name + ".rows", rows);
      send.outputs = {arrived};
      if (once_per_node()) {
        TensorId& weights = batch.weights[static_cast<std::size_t>(c)];
        weights = builder_.tensor(Tensor{send.name + ".weights", TensorKind::activation, DType::fp32, 1, rows, 1});
        send.outputs.push_back(weights);
      }
    }
    builder_.emit(std::move(send));
  }
}

Communication LayerLowering::exchange_communication(OpKind kind, std::int64_t layer, const MicroBatchState& batch,
                                                    std::int64_t chunk) const {
  Communication communication;
  communication.name = prefix(layer, batch) + std::string(name_of(kind)) + chunk_suffix(chunk);
  communication.kind = kind;
  communication.group = context_.ep_group;
  communication.algorithm = CollectiveAlgorithm::direct;
  communication.exchange = deployment_.exchange_algorithm;
  communication.dtype = kind == OpKind::exchange_counts ? DType::int32
                        : kind == OpKind::dispatch      ? model_.dispatch_dtype
                                                        : model_.activation_dtype;
  communication.layer = static_cast<std::int16_t>(layer);
  communication.micro_batch = static_cast<std::int16_t>(batch.index);
  communication.chunk = static_cast<std::int16_t>(chunk);
  const ExchangeSlots slots = exchange_slots(context_.scenario, context_.placement, layer, batch.index, kind);
  communication.slots = slots.slots;
  communication.header_rows = slots.header_rows;
  return communication;
}

void LayerLowering::exchange_counts(std::int64_t layer, const MicroBatchState& batch, std::int64_t chunk) {
  const std::int64_t experts_here = local_experts(layer);
  const bool source = source_of(chunk);
  Op counts =
      op(OpKind::exchange_counts, std::string(name_of(OpKind::exchange_counts)) + chunk_suffix(chunk), layer, batch,
         ExchangeOp{context_.communications.get(exchange_communication(OpKind::exchange_counts, layer, batch, chunk)),
                    source, experts_here > 0, source ? model_.experts : 0, 1});
  counts.dtype = DType::int32;
  counts.chunk = static_cast<std::int16_t>(chunk);
  counts.stream = exchange_stream(chunk);
  if (source) counts.inputs = {batch.counts};
  if (experts_here > 0) {
    const std::int64_t sources = chunk < 0 ? deployment_.ep : context_.placement.chunk_sources(chunk).size();
    counts.outputs = {builder_.tensor(
        Tensor{counts.name + ".rows", TensorKind::activation, DType::int32, 1, Extent::fixed(sources), experts_here})};
  }
  builder_.emit(std::move(counts));
}

void LayerLowering::experts(std::int64_t layer, MicroBatchState& batch) {
  if (dense(layer)) return dense_mlp(layer, batch);
  if (sliced_) return hosted_experts(layer, batch);
  replicated_experts(layer, batch);
}

// up (and gate) -> activation -> down for the rows of one chunk; returns the expert outputs in the order of `input`.
TensorId LayerLowering::expert_chain(std::int64_t layer, const MicroBatchState& batch, std::int64_t chunk,
                                     std::int32_t arrival_set, TensorId input) {
  const std::int64_t experts_here = local_experts(layer);
  const std::int64_t inner = expert_hidden_per_rank();
  const std::int64_t up_cols = model_.gated ? 2 * inner : inner;
  const Extent rows = Extent::routed(layer, batch.index, chunk);
  const auto emit = [&](Op step, std::string_view name, std::vector<TensorId> inputs, const auto& make_output) {
    step.name = prefix(layer, batch) + std::string(name) + chunk_suffix(chunk);
    step.chunk = static_cast<std::int16_t>(chunk);
    step.arrival_set = arrival_set;
    const TensorId output = make_output(step.name);
    step.inputs = std::move(inputs);
    step.outputs = {output};
    builder_.emit(std::move(step));
    return output;
  };
  const auto wide = [&](std::int64_t cols) {
    return [this, rows, cols](const std::string& name) { return activation(name, rows, cols); };
  };
  const auto product = [&](WeightKind kind, TensorId of, std::int64_t n, std::int64_t k) {
    const TensorId weights = weight(kind, layer, experts_here, k, n);
    Op step = op(OpKind::grouped_gemm, "", layer, batch,
                 GroupedGemmOp{rows, experts_here, n, k, model_.expert_format.packing});
    step.dtype = model_.expert_format.dtype;
    return emit(std::move(step), name_of(kind), {of, weights}, wide(n));
  };
  // Rows arrive ordered by source; with one expert here there is nothing to sort.
  const bool sorts = sliced_ && experts_here > 1;
  TensorId rows_in = input;
  if (sorts) {
    Op sort = op(OpKind::permute, "", layer, batch, permutation(rows, RowOrder::sort));
    sort.dtype = model_.dispatch_dtype;
    rows_in = emit(std::move(sort), "sort", {rows_in},
                   [this, rows](const std::string& name) { return dispatched(name, rows); });
  }
  const TensorId raised = product(WeightKind::expert_up, rows_in, up_cols, model_.hidden);
  const TensorId activated = emit(op(OpKind::activation, "", layer, batch, RowwiseOp{rows, inner, false, model_.gated}),
                                  "expert_activation", {raised}, wide(inner));
  TensorId rows_out = product(WeightKind::expert_down, activated, model_.hidden, inner);
  if (sorts)
    rows_out = emit(op(OpKind::permute, "", layer, batch, permutation(rows, RowOrder::unsort)), "unsort", {rows_out},
                    wide(model_.hidden));
  return rows_out;
}

void LayerLowering::hosted_experts(std::int64_t layer, MicroBatchState& batch) {
  // First what needs no tokens from elsewhere: it runs while they travel.
  if (model_.shared_experts > 0) batch.shared = shared_experts(layer, batch, batch.owned);

  const bool chunked = deployment_.overlap == Overlap::micro_stages;
  const std::int32_t arrival_set = chunked ? next_arrival_set_++ : -1;
  batch.computed.assign(batch.arrived.size(), TensorId());
  for (std::size_t c = 0; c < batch.arrived.size(); ++c) {
    if (!batch.arrived[c].valid()) continue;
    batch.computed[c] =
        expert_chain(layer, batch, chunked ? static_cast<std::int64_t>(c) : -1, arrival_set, batch.arrived[c]);
  }
  combine_arrivals(layer, batch);
}

void LayerLowering::combine_arrivals(std::int64_t layer, MicroBatchState& batch) {
  const bool chunked = deployment_.overlap == Overlap::micro_stages;
  const std::int64_t experts_here = local_experts(layer);
  for (std::size_t c = 0; c < batch.computed.size(); ++c) {
    const std::int64_t chunk = chunked ? static_cast<std::int64_t>(c) : -1;
    const bool source = source_of(chunk);
    if (!source && experts_here == 0) continue;
    Op back = op(OpKind::combine, "combine" + chunk_suffix(chunk), layer, batch,
                 ExchangeOp{context_.communications.get(exchange_communication(OpKind::combine, layer, batch, chunk)),
                            source, experts_here > 0, source ? batch.owned * model_.top_k : 0, model_.hidden});
    back.chunk = static_cast<std::int16_t>(chunk);
    back.stream = exchange_stream(chunk);
    if (experts_here > 0) back.inputs = {batch.computed[c]};
    if (experts_here > 0 && once_per_node()) back.inputs.push_back(batch.weights[c]);
    if (source) {
      const std::int64_t rows = once_per_node() ? batch.owned : batch.owned * model_.top_k;
      batch.returned = activation(back.name + ".rows", Extent::fixed(rows), model_.hidden);
      back.outputs = {batch.returned};
    }
    builder_.emit(std::move(back));
  }
}

void LayerLowering::replicated_experts(std::int64_t layer, MicroBatchState& batch) {
  const Extent rows = Extent::routed(layer, batch.index, -1);
  // A rank without experts of this layer (round robin) still adds its zeros to the sum.
  Op gather_rows = op(OpKind::permute, "permute", layer, batch, permutation(rows, RowOrder::select));
  const TensorId selected = activation(gather_rows.name, rows, model_.hidden);
  gather_rows.inputs = {batch.normed, batch.routes};
  gather_rows.outputs = {selected};
  builder_.emit(std::move(gather_rows));
  const TensorId computed = local_experts(layer) > 0 ? expert_chain(layer, batch, -1, -1, selected) : selected;

  Op sum = op(OpKind::unpermute, "unpermute", layer, batch, RowwiseOp{rows, model_.hidden, false, false, batch.tokens});
  sum.inputs = {computed, batch.routes};
  batch.delta = activation(sum.name, Extent::fixed(batch.tokens), model_.hidden);
  sum.outputs = {batch.delta};
  builder_.emit(std::move(sum));

  if (model_.shared_experts > 0) {
    Op add = op(OpKind::add, "add_shared", layer, batch, RowwiseOp{Extent::fixed(batch.tokens), model_.hidden});
    add.inputs = {batch.delta, shared_experts(layer, batch, batch.tokens)};
    batch.delta = activation(add.name, Extent::fixed(batch.tokens), model_.hidden);
    add.outputs = {batch.delta};
    builder_.emit(std::move(add));
  }
  if (deployment_.tp > 1)
    batch.delta = collective(OpKind::all_reduce, "expert_all_reduce", "expert_output", batch.delta, batch.tokens,
                             batch.tokens, layer, batch);
}

// Where tokens are replicated over the TP group the shared experts are split over it; where every rank owns its tokens
// each rank holds them whole.
TensorId LayerLowering::shared_experts(std::int64_t layer, const MicroBatchState& batch, std::int64_t rows) {
  const std::int64_t inner = model_.shared_experts * model_.expert_hidden / (sliced_ ? 1 : deployment_.tp);
  const std::int64_t up_cols = model_.gated ? 2 * inner : inner;
  const TensorId raised = gemm(WeightKind::shared_up, layer, batch, batch.normed, rows, up_cols, model_.hidden);
  Op activate = op(OpKind::activation, "shared_activation", layer, batch,
                   RowwiseOp{Extent::fixed(rows), inner, false, model_.gated});
  const TensorId activated = activation(activate.name, Extent::fixed(rows), inner);
  activate.inputs = {raised};
  activate.outputs = {activated};
  builder_.emit(std::move(activate));
  return gemm(WeightKind::shared_down, layer, batch, activated, rows, model_.hidden, inner);
}

void LayerLowering::dense_mlp(std::int64_t layer, MicroBatchState& batch) {
  const std::int64_t inner = model_.dense_hidden / deployment_.tp;
  const std::int64_t up_cols = model_.gated ? 2 * inner : inner;
  const TensorId raised = gemm(WeightKind::mlp_up, layer, batch, batch.normed, batch.tokens, up_cols, model_.hidden);
  Op activate = op(OpKind::activation, "mlp_activation", layer, batch,
                   RowwiseOp{Extent::fixed(batch.tokens), inner, false, model_.gated});
  const TensorId activated = activation(activate.name, Extent::fixed(batch.tokens), inner);
  activate.inputs = {raised};
  activate.outputs = {activated};
  builder_.emit(std::move(activate));
  batch.delta = gemm(WeightKind::mlp_down, layer, batch, activated, batch.tokens, model_.hidden, inner);
  if (deployment_.tp == 1) return;
  batch.delta = sliced_ ? collective(OpKind::reduce_scatter, "mlp_reduce_scatter", "mlp_output", batch.delta,
                                     batch.tokens, batch.owned, layer, batch)
                        : collective(OpKind::all_reduce, "mlp_all_reduce", "mlp_output", batch.delta, batch.tokens,
                                     batch.tokens, layer, batch);
}

void LayerLowering::finish(MicroBatchState& batch) {
  settle(batch);
  if (!batch.delta.valid()) return;
  Op add = op(OpKind::add, "output", -1, batch, RowwiseOp{Extent::fixed(batch.owned), model_.hidden});
  add.inputs = {batch.residual, batch.delta};
  batch.residual = activation(add.name, Extent::fixed(batch.owned), model_.hidden);
  add.outputs = {batch.residual};
  builder_.emit(std::move(add));
  batch.delta = TensorId();
}

}  // namespace foretoken::plan
