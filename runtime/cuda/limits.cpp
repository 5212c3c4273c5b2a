#include "runtime/cuda/limits.hpp"

#include <fmt/format.h>

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "plan/live_limits.hpp"

namespace foretoken::runtime::cuda {
namespace {

Error refused(const plan::Plan& plan, const std::string& what, const std::string& mend) {
  return Error(ErrorCode::invalid_input,
               fmt::format("{}: {}, which the cuda backend does not do yet; {}", plan.scenario.name, what, mend));
}

std::string_view nccl_name(CollectiveAlgorithm algorithm) {
  switch (algorithm) {
    case CollectiveAlgorithm::ring: return "ring";
    case CollectiveAlgorithm::tree: return "tree";
    case CollectiveAlgorithm::nvls: return "nvls";
    case CollectiveAlgorithm::nvls_tree: return "nvlstree";
    case CollectiveAlgorithm::direct: break;
  }
  return "";
}

std::string_view nccl_name(plan::OpKind kind) {
  switch (kind) {
    case plan::OpKind::all_reduce: return "allreduce";
    case plan::OpKind::all_gather: return "allgather";
    case plan::OpKind::reduce_scatter: return "reducescatter";
    default: return "";
  }
}

const char* const kOneType = "run it with --set 'model.dtype={\"weights\":\"bf16\"}'";

// cuBLASLt multiplies e4m3 by e4m3 alone, with one scale per row and column, in matrices of whole 16 bytes.
void require_fp8_products(const plan::Plan& plan) {
  const plan::ModelSpec& model = plan.scenario.model;
  if (model.activation_dtype != DType::bf16 || model.kv_dtype != DType::bf16)
    throw refused(
        plan,
        fmt::format("weights in fp8 with activations in {} and KV cache in {}",
                    foretoken::name_of(model.activation_dtype), foretoken::name_of(model.kv_dtype)),
        "run it with --set 'model.dtype={\"weights\":\"fp8\",\"activations\":\"bf16\",\"kv_cache\":\"bf16\"}'");
  if (device_counts(plan))
    throw refused(
        plan,
        "weights are fp8, and only the device knows how many rows an expert has, so that their products would "
        "be a batch",
        "run it with --set deployment.experts.dispatch_mode=exact where tokens are dispatched, or with "
        "weights in bf16");
  for (const plan::Role& role : plan.program.roles)
    for (const plan::Op& op : role.ops) {
      const std::optional<Fp8Product> product = fp8_product(op);
      if (!product || (product->n % kFp8Multiple == 0 && product->k % kFp8Multiple == 0)) continue;
      throw refused(plan,
                    fmt::format("{} is a product of fp8 from {} columns to {}, which are no multiples of {}", op.name,
                                product->k, product->n, kFp8Multiple),
                    "choose a model or a deployment whose matrices are, or weights in bf16");
    }
}

void require_element_types(const plan::Plan& plan) {
  const plan::ModelSpec& model = plan.scenario.model;
  for (const DType dtype : {model.activation_dtype, model.kv_dtype})
    if (dtype != DType::fp32 && dtype != DType::fp16 && dtype != DType::bf16)
      throw refused(plan, fmt::format("this scenario says {} for what is no weight", foretoken::name_of(dtype)),
                    kOneType);
  if (model.weight_dtype == DType::fp8) return require_fp8_products(plan);
  if (model.weight_dtype != model.activation_dtype || model.kv_dtype != model.activation_dtype)
    throw refused(plan,
                  fmt::format("weights in {}, activations in {} and KV cache in {} are not one element type",
                              foretoken::name_of(model.weight_dtype), foretoken::name_of(model.activation_dtype),
                              foretoken::name_of(model.kv_dtype)),
                  kOneType);
}

}  // namespace

std::optional<Fp8Product> fp8_product(const plan::Op& op) {
  if (op.dtype != DType::fp8) return std::nullopt;
  if (const auto* one = std::get_if<plan::GemmOp>(&op.detail)) return Fp8Product{one->rows, one->n, one->k, 1};
  if (const auto* grouped = std::get_if<plan::GroupedGemmOp>(&op.detail))
    return Fp8Product{grouped->rows, grouped->n, grouped->k, grouped->experts};
  return std::nullopt;
}

DType element_type(const plan::Plan& plan) { return plan.scenario.model.activation_dtype; }

bool host_counts(const plan::Plan& plan) {
  const plan::DeploymentSpec& deployment = plan.scenario.deployment;
  return deployment.exchange == plan::ExpertExchange::dispatch && deployment.dispatch_mode == plan::DispatchMode::exact;
}

bool device_counts(const plan::Plan& plan) { return !plan.routing.known() && !host_counts(plan); }

ExpertProducts expert_products(const plan::Plan& plan, ExpertProducts wanted) {
  if (plan.scenario.model.weight_dtype == DType::fp8) return ExpertProducts::each;
  return device_counts(plan) ? ExpertProducts::batch : wanted;
}

void require_fp8_support(const plan::Plan& plan, Fp8Support support) {
  constexpr std::int64_t kCublasLtMin = 120'900;
  if (plan.scenario.model.weight_dtype != DType::fp8) return;
  const auto refuse = [&](const std::string& found, const std::string& mend) {
    throw Error(ErrorCode::invalid_input,
                fmt::format("{}: weights are fp8, and {}; {}, or {}", plan.scenario.name, found, mend, kOneType));
  };
  if (support.capability_major != 9 || support.capability_minor != 0)
    refuse(
        fmt::format("the GPU is of compute capability {}.{}, while cuBLASLt multiplies rows with scales of their own "
                    "on 9.0 alone",
                    support.capability_major, support.capability_minor),
        "run it on an H100 or H200");
  if (support.cublaslt < kCublasLtMin)
    refuse(fmt::format("cuBLASLt here is {}.{}.{}, while rows with scales of their own need 12.9 or newer",
                       support.cublaslt / 10'000, support.cublaslt / 100 % 100, support.cublaslt % 100),
           "install the CUDA toolkit that foretoken was built with, and have its libraries found first "
           "(LD_LIBRARY_PATH)");
}

bool captures_steps(const plan::Plan& plan) {
  if (plan.scenario.execution) return plan.scenario.execution->mode == plan::LaunchMode::graph;
  return plan.scenario.deployment.schedule == plan::PipelineSchedule::flush && !host_counts(plan);
}

void require_cuda_can_run(const plan::Plan& plan) {
  plan::require_live_model(plan);
  require_element_types(plan);
  if (plan.scenario.deployment.overlap == plan::Overlap::micro_stages)
    throw refused(plan, "micro-stages run in the order in which they arrive",
                  "run it with --set deployment.overlap=two_batch, or none");
  if (captures_steps(plan) && host_counts(plan))
    throw refused(plan, "ranks exchange counts (dispatch_mode exact) in steps that are to be captured as graphs",
                  "run it with --set execution.mode=eager, or deployment.experts.dispatch_mode=capacity");
  if (captures_steps(plan) && plan.scenario.deployment.schedule == plan::PipelineSchedule::flow &&
      plan.scenario.deployment.stages > 1)
    throw refused(plan, "steps of pipeline stages flow into one another, and are to be captured as graphs",
                  "run it with --set execution.mode=eager");
  static_cast<void>(nccl_algorithms(plan));
}

std::string nccl_algorithms(const plan::Plan& plan) {
  std::map<plan::OpKind, CollectiveAlgorithm> chosen;
  for (const plan::Communication& communication : plan.program.communications) {
    if (nccl_name(communication.kind).empty()) continue;
    const std::string_view kind = plan::name_of(communication.kind);
    if (nccl_name(communication.algorithm).empty())
      throw refused(plan, fmt::format("{} is planned as {}", kind, name_of(communication.algorithm)),
                    fmt::format("run it with --set deployment.collectives.{}=ring", kind));
    const auto [place, added] = chosen.try_emplace(communication.kind, communication.algorithm);
    if (place->second != communication.algorithm)
      throw refused(
          plan,
          fmt::format("{} is planned as {} and as {}", kind, name_of(place->second), name_of(communication.algorithm)),
          fmt::format("run it with --set deployment.collectives.{}=ring", kind));
  }
  std::string text;
  for (const auto& [kind, algorithm] : chosen)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ";", nccl_name(kind), nccl_name(algorithm));
  return text;
}

}  // namespace foretoken::runtime::cuda
