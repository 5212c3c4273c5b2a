#include "plan/lower/lower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>

#include "core/error.hpp"
#include "plan/lower/layer_lowering.hpp"
#include "plan/lower/role_builder.hpp"
#include "plan/scenario/limits.hpp"
#include "plan/scenario/names.hpp"

namespace foretoken::plan {
namespace {

using Phase = LayerLowering::Phase;

// What makes two ranks run different ops: where they stand, how many tokens they see, which layers' experts they hold.
using RoleKey = std::vector<std::int64_t>;

std::span<const std::int64_t> layers_in(const std::vector<std::int64_t>& layers, Range range) {
  return {std::lower_bound(layers.begin(), layers.end(), range.begin),
          std::lower_bound(layers.begin(), layers.end(), range.end)};
}

RoleKey key_of(RankId rank, const Scenario& scenario, const Placement& placement,
               const std::vector<std::int64_t>& layers) {
  const DeploymentSpec& deployment = scenario.deployment;
  const std::int64_t stage = placement.stage_of(rank);
  const std::int64_t replica = placement.replica_of(rank);
  RoleKey key{stage, split(Range{0, scenario.workload.sequences}, deployment.dp, replica).size()};
  // The slice sizes of a rank follow from its TP index only where some micro-batch does not divide evenly.
  bool uneven = false;
  if (deployment.tp > 1) {
    for (std::int64_t m = 0; m < deployment.micro_batches && !uneven; ++m)
      uneven = placement.sequences(replica, m).size() % deployment.tp != 0;
  }
  key.push_back(uneven ? placement.tp_index_of(rank) : 0);
  const std::int64_t ep_index = placement.ep_index_of(rank);
  key.push_back(deployment.overlap == Overlap::micro_stages ? ep_index / (deployment.ep / deployment.chunks) : 0);
  for (const std::int64_t layer : layers_in(layers, placement.layers_of_stage(stage)))
    key.push_back(static_cast<std::int64_t>(placement.experts_on(layer, ep_index).size()));
  return key;
}

std::string name_of_role(RankId rank, const Placement& placement, std::size_t index) {
  return fmt::format("role{} (stage {})", index, placement.stage_of(rank));
}

[[noreturn]] void fail_too_large(const Scenario& scenario) {
  throw input_error(scenario.file, "/deployment",
                    fmt::format("the program of a step has more than {} ops", kProgramOpsMax),
                    "lower deployment.micro_batches, deployment.chunks or model.layers");
}

/// Lowers everything that one role does in a step.
class RoleLowering {
 public:
  RoleLowering(LoweringContext& context, RankId rank, std::string name)
      : context_(context),
        deployment_(context.scenario.deployment),
        rank_(rank),
        stage_(context.placement.stage_of(rank)),
        builder_(std::move(name)),
        layers_(context, builder_, rank) {}

  Role run() {
    start_batches();
    const std::int64_t wave = deployment_.overlap == Overlap::two_batch ? 2 : 1;
    for (std::int64_t first = 0; first < deployment_.micro_batches; first += wave) lower_wave(first, wave);
    if (stage_ == 0) close_loop();
    return builder_.take();
  }

 private:
  [[nodiscard]] bool first_stage() const { return stage_ == 0; }
  [[nodiscard]] bool last_stage() const { return stage_ == deployment_.stages - 1; }
  [[nodiscard]] std::int64_t stage_stride() const { return deployment_.ranks_per_stage(); }
  // Token rows whose residual stream this rank owns.
  [[nodiscard]] std::int64_t owned_rows(std::int64_t micro_batch) const {
    const std::int64_t replica = context_.placement.replica_of(rank_);
    if (!layers_.sliced()) return context_.placement.sequences(replica, micro_batch).size();
    return slice_rows(micro_batch);
  }
  [[nodiscard]] std::int64_t slice_rows(std::int64_t micro_batch) const {
    return context_.placement
        .slice(context_.placement.replica_of(rank_), micro_batch, context_.placement.tp_index_of(rank_))
        .size();
  }
  // Activations that every rank of the TP group holds may cross stages as one slice per rank, gathered on arrival.
  [[nodiscard]] bool scatter_gather() const {
    return !layers_.sliced() && deployment_.tp > 1 && deployment_.transfer == PipelineTransfer::scatter_gather;
  }

  void check_size() const {
    if (builder_.ops() > static_cast<std::size_t>(kProgramOpsMax)) fail_too_large(context_.scenario);
  }

  void start_batches() {
    const std::int64_t replica = context_.placement.replica_of(rank_);
    for (std::int64_t m = 0; m < deployment_.micro_batches; ++m) {
      MicroBatchState batch;
      batch.index = m;
      batch.tokens = context_.placement.sequences(replica, m).size();
      batch.owned = owned_rows(m);
      batches_.push_back(std::move(batch));
    }
  }

  // All micro-batches of a wave go through a layer together, one phase after the other.
  void lower_wave(std::int64_t first, std::int64_t size) {
    const auto begin = batches_.begin() + first;
    const auto end = begin + size;
    for (auto batch = begin; batch != end; ++batch) enter(*batch);
    for (const std::int64_t layer : layers_in(context_.layers, context_.placement.layers_of_stage(stage_))) {
      for (const auto& phases : phase_groups(layer)) {
        for (auto batch = begin; batch != end; ++batch)
          for (const Phase phase : phases) layers_.lower(phase, layer, *batch);
        check_size();
      }
    }
    for (auto batch = begin; batch != end; ++batch) leave(*batch);
  }

  // Phases between which there is no communication stay together: the other micro-batch's work is better spent hiding
  // the next one.
  [[nodiscard]] std::vector<std::vector<Phase>> phase_groups(std::int64_t layer) const {
    const bool dense = context_.scenario.model.dense(layer);
    const bool tp = deployment_.tp > 1;
    if (layers_.sliced()) {
      if (tp) return {{Phase::gather}, {Phase::attention}, {Phase::route}, {Phase::experts}};
      if (dense) return {{Phase::gather, Phase::attention, Phase::route, Phase::experts}};
      return {{Phase::gather, Phase::attention, Phase::route}, {Phase::experts}};
    }
    if (tp) return {{Phase::gather, Phase::attention}, {Phase::route, Phase::experts}};
    return {{Phase::gather, Phase::attention, Phase::route, Phase::experts}};
  }

  void enter(MicroBatchState& batch) {
    const std::int64_t hidden = context_.scenario.model.hidden;
    if (first_stage()) {
      if (context_.scenario.model.vocabulary > 0) return embed(batch);
      Op input = op(OpKind::input, "input", batch, RowwiseOp{Extent::fixed(batch.owned), hidden});
      batch.residual = tensor(input.name, batch.owned, hidden);
      input.outputs = {batch.residual};
      inputs_.push_back(builder_.emit(std::move(input)));
      return;
    }
    const std::int64_t rows = scatter_gather() ? slice_rows(batch.index) : batch.owned;
    Op receive = op(
        OpKind::recv, "recv", batch,
        transfer("stage", batch, stage_ - 1, -stage_stride(), rows, hidden, context_.scenario.model.activation_dtype));
    receive.stream = kPipelineRecv;
    batch.residual = tensor(receive.name, rows, hidden);
    receive.outputs = {batch.residual};
    builder_.emit(std::move(receive));
    if (scatter_gather())
      batch.residual = layers_.collective(OpKind::all_gather, fmt::format("s{}.input_all_gather", stage_),
                                          "stage_input", batch.residual, batch.tokens, batch.tokens, -1, batch);
  }

  void embed(MicroBatchState& batch) {
    Op input = op(OpKind::input, "input", batch, RowwiseOp{Extent::fixed(batch.tokens), 1});
    const TensorId tokens =
        builder_.tensor(Tensor{input.name, TensorKind::activation, DType::int32, 1, Extent::fixed(batch.tokens), 1});
    input.dtype = DType::int32;
    input.outputs = {tokens};
    inputs_.push_back(builder_.emit(std::move(input)));
    layers_.embed(batch, tokens);
  }

  void leave(MicroBatchState& batch) {
    const std::int64_t hidden = context_.scenario.model.hidden;
    const bool head = last_stage() && context_.scenario.model.vocabulary > 0;
    const TensorId logits = head ? layers_.lm_head(batch) : TensorId();
    if (!head) layers_.finish(batch);
    if (!last_stage()) {
      const std::int64_t rows = scatter_gather() ? slice_rows(batch.index) : batch.owned;
      Op send =
          op(OpKind::send, "send", batch,
             transfer("stage", batch, stage_, stage_stride(), rows, hidden, context_.scenario.model.activation_dtype));
      send.stream = kPipelineSend;
      send.inputs = {batch.residual};
      builder_.emit(std::move(send));
      return;
    }
    Op end = op(OpKind::step_end, "step_end", batch, RowwiseOp{Extent::fixed(batch.owned), hidden});
    end.inputs = {head ? logits : batch.residual};
    const TensorId tokens = builder_.tensor(
        Tensor{end.name + ".tokens", TensorKind::activation, DType::int32, 1, Extent::fixed(batch.owned), 1});
    end.outputs = {tokens};
    const OpId ended = builder_.emit(std::move(end));
    ends_.push_back(ended);
    if (deployment_.stages == 1) return;
    // The first stage cannot start a sequence's next token before it knows this one.
    Op send = op(OpKind::send, "send_tokens", batch,
                 transfer("tokens", batch, stage_, -stage_ * stage_stride(), batch.owned, 1, DType::int32));
    send.dtype = DType::int32;
    send.stream = kPipelineSend;
    send.inputs = {tokens};
    builder_.emit(std::move(send));
  }

  // The next step of a micro-batch starts when its tokens are known (flow), or when all tokens of the step are (flush).
  void close_loop() {
    std::vector<OpId> known = ends_;
    if (deployment_.stages > 1) {
      known.clear();
      for (MicroBatchState& batch : batches_) {
        Op receive = op(OpKind::recv, "recv_tokens", batch,
                        transfer("tokens", batch, deployment_.stages - 1, (deployment_.stages - 1) * stage_stride(),
                                 batch.owned, 1, DType::int32));
        receive.dtype = DType::int32;
        receive.stream = kPipelineRecv;
        receive.outputs = {builder_.tensor(
            Tensor{receive.name, TensorKind::activation, DType::int32, 1, Extent::fixed(batch.owned), 1})};
        known.push_back(builder_.emit(std::move(receive)));
      }
    }
    for (std::size_t m = 0; m < inputs_.size(); ++m) {
      // All of `known` are on one in-order stream: the last one stands for all.
      builder_.carry(inputs_[m], deployment_.schedule == PipelineSchedule::flow ? known[m] : known.back());
    }
  }

  Op op(OpKind kind, const std::string& name, const MicroBatchState& batch, OpDetail detail) const {
    Op result;
    result.name = fmt::format("m{}.{}", batch.index, name);
    result.kind = kind;
    result.dtype = context_.scenario.model.activation_dtype;
    result.micro_batch = static_cast<std::int16_t>(batch.index);
    result.detail = detail;
    return result;
  }

  TensorId tensor(const std::string& name, std::int64_t rows, std::int64_t cols) {
    return builder_.tensor(
        Tensor{name, TensorKind::activation, context_.scenario.model.activation_dtype, 1, Extent::fixed(rows), cols});
  }

  // A transfer is named after what crosses and the stage it leaves, so that sender and receiver name the same one.
  TransferOp transfer(const char* what, const MicroBatchState& batch, std::int64_t from_stage, std::int64_t peer_offset,
                      std::int64_t rows, std::int64_t cols, DType dtype) {
    Communication communication;
    communication.name = fmt::format("m{}.{}_from_stage{}", batch.index, what, from_stage);
    communication.kind = OpKind::send;
    communication.algorithm = CollectiveAlgorithm::direct;
    communication.dtype = dtype;
    communication.micro_batch = static_cast<std::int16_t>(batch.index);
    return TransferOp{context_.communications.get(std::move(communication)), peer_offset, rows, cols};
  }

  LoweringContext& context_;
  const DeploymentSpec& deployment_;
  RankId rank_;
  std::int64_t stage_;
  RoleBuilder builder_;
  LayerLowering layers_;
  std::vector<MicroBatchState> batches_;
  std::vector<OpId> inputs_;  // [micro-batch], first stage
  std::vector<OpId> ends_;    // [micro-batch], last stage
};

// What a model may say and no lowering knows.
void check_model(const Scenario& scenario) {
  if (scenario.model.index)
    throw input_error(scenario.file, "/model/index", "sparse attention cannot be planned yet",
                      "remove it (--set model.index=null) to plan attention over the whole context");
}

void check_fits(const Scenario& scenario, const Machine& machine) {
  const DeploymentSpec& d = scenario.deployment;
  if (d.ranks() <= machine.gpus()) return;
  const std::int64_t gpus_per_node = machine.gpus() / machine.nodes();
  throw input_error(
      scenario.file, "/deployment",
      fmt::format("attention tp {} x dp {} x pipeline stages {} = {} ranks do not fit {} with {} GPUs", d.tp, d.dp,
                  d.stages, d.ranks(), machine.name(), machine.gpus()),
      fmt::format("lower them, or set cluster.nodes to at least {}", (d.ranks() + gpus_per_node - 1) / gpus_per_node));
}

std::int64_t nodes_of_tp_groups(const DeploymentSpec& deployment, const Machine& machine) {
  std::int64_t most = 1;
  for (std::int64_t first = 0; first < deployment.ranks(); first += deployment.tp) {
    const auto node = [&](std::int64_t rank) { return machine.node_of(RankId(static_cast<std::int32_t>(rank))); };
    most = std::max<std::int64_t>(most, node(first + deployment.tp - 1) - node(first) + 1);
  }
  return most;
}

// Every pair of a direct collective is a route of its own.
constexpr std::int64_t kDirectRanksMax = 1'024;

void check_algorithms(const Scenario& scenario, std::int64_t nodes, const Machine& machine) {
  const DeploymentSpec& deployment = scenario.deployment;
  const bool direct = deployment.all_reduce == CollectiveChoice::direct ||
                      deployment.all_gather == CollectiveChoice::direct ||
                      deployment.reduce_scatter == CollectiveChoice::direct;
  if (direct && deployment.tp > kDirectRanksMax)
    throw Error(ErrorCode::invalid_input,
                fmt::format("deployment.collectives: \"direct\" joins every pair of {} ranks; use \"ring\" above {}",
                            deployment.tp, kDirectRanksMax));
  const auto check = [&](CollectiveChoice choice, const char* key) {
    const bool in_switch = choice == CollectiveChoice::nvls || choice == CollectiveChoice::nvls_tree;
    if ((!in_switch && choice != CollectiveChoice::tree) || deployment.tp == 1) return;
    std::string found;
    if (choice == CollectiveChoice::tree && machine.is_host())
      found = "the ranks of a host have \"ring\" and \"direct\"";
    if (choice == CollectiveChoice::nvls && nodes > 1)
      found = fmt::format("a tensor-parallel group of {} spans {} nodes", deployment.tp, nodes);
    if (in_switch && !machine.nvls()) found = fmt::format("the NVSwitch of {} cannot add up", machine.name());
    if (choice == CollectiveChoice::nvls_tree && nodes == 1)
      found = fmt::format("a tensor-parallel group of {} is within one node", deployment.tp);
    if (choice == CollectiveChoice::nvls_tree && nodes == deployment.tp)
      found = fmt::format("a tensor-parallel group of {} has one GPU on each node", deployment.tp);
    if (found.empty()) return;
    throw input_error(scenario.file, fmt::format("/deployment/collectives/{}", key),
                      fmt::format("\"{}\" is chosen, but {}", name_of(choice, kCollectiveChoiceNames), found),
                      "write \"ring\", \"direct\" or \"auto\"");
  };
  check(deployment.all_reduce, "all_reduce");
  check(deployment.all_gather, "all_gather");
  check(deployment.reduce_scatter, "reduce_scatter");
}

}  // namespace

Program lower(const Scenario& scenario, const Placement& placement, const Machine& machine,
              const std::vector<std::int64_t>& layers) {
  check_model(scenario);
  check_fits(scenario, machine);
  const DeploymentSpec& deployment = scenario.deployment;
  Program program;
  program.ranks = deployment.ranks();
  program.tokens = scenario.workload.sequences;
  program.placement =
      fmt::format("tp {} dp {} stages {} ep {} {} chunks {}", deployment.tp, deployment.dp, deployment.stages,
                  deployment.ep, name_of(deployment.placement, kExpertPlacementNames), deployment.chunks);
  program.groups = {GroupFamily{"tp", deployment.tp, 1}, GroupFamily{"ep", deployment.ep, 1}};
  // Where a token is sent once per node, the program says which ranks share one.
  if (deployment.exchange_algorithm == ExchangeAlgorithm::hierarchical)
    program.groups.push_back(GroupFamily{"node", machine.gpus() / machine.nodes(), 1});
  LoweringContext context{scenario, placement,  machine,    layers,
                          {},       GroupId(0), GroupId(1), nodes_of_tp_groups(deployment, machine)};
  check_algorithms(scenario, context.nodes_of_tp_group, machine);

  // Who takes part in an exchange is worked out per exchange and rank of the group.
  const double exchanges =
      2.0 * static_cast<double>(layers.size()) * static_cast<double>(deployment.micro_batches * deployment.chunks);
  constexpr double kExchangeRanksMax = 5e7;
  if (deployment.exchange == ExpertExchange::dispatch &&
      exchanges * static_cast<double>(deployment.ep) > kExchangeRanksMax)
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("{:.0f} exchanges over {} ranks per step are too many to plan; lower deployment.micro_batches, "
                    "deployment.chunks, deployment.experts.ep or model.layers",
                    exchanges, deployment.ep));

  std::map<RoleKey, std::int32_t> role_of_key;
  std::size_t ops = 0;
  program.role_of_rank.resize(static_cast<std::size_t>(program.ranks));
  for (std::int32_t r = 0; r < program.ranks; ++r) {
    const RankId rank(r);
    const auto [place, added] = role_of_key.try_emplace(key_of(rank, scenario, placement, layers),
                                                        static_cast<std::int32_t>(program.roles.size()));
    if (added) {
      program.roles.push_back(RoleLowering(context, rank, name_of_role(rank, placement, program.roles.size())).run());
      ops += program.roles.back().ops.size();
      if (ops > static_cast<std::size_t>(kProgramOpsMax)) fail_too_large(scenario);
    }
    program.role_of_rank[rank.index()] = place->second;
    program.roles[static_cast<std::size_t>(place->second)].ranks.push_back(rank);
  }
  program.communications = context.communications.take();
  return program;
}

}  // namespace foretoken::plan
