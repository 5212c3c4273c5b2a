// What the cuda backend runs, and what it refuses by name.
#pragma once

#include <cstdint>
#include <optional>

#include "core/dtype.hpp"
#include "plan/plan.hpp"
#include "runtime/cuda/expert_products.hpp"

namespace foretoken::runtime::cuda {

/// The one element type of activations and KV caches, and of weights unless they are fp8, of a plan that the cuda
/// backend runs.
DType element_type(const plan::Plan& plan);

/// Whether the host has to wait within a step for counts that ranks exchange, before it can queue the messages of that
/// size: dispatch_mode exact.
bool host_counts(const plan::Plan& plan);

/// Whether only the device knows how many rows an expert gets: the model's own router decides, and the host does not
/// wait to be told. Launches and buffers are then as large as any routing could need.
bool device_counts(const plan::Plan& plan);

/// How experts' products are made: as wanted, but as a batch where only the device knows their sizes, and one each
/// where their weights are fp8: a strided batch has no scales of its own for each expert's rows.
ExpertProducts expert_products(const plan::Plan& plan, ExpertProducts wanted);

/// An op's product of weights in fp8 (E4M3), to which its rows are quantised.
struct Fp8Product {
  plan::Extent rows;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t experts = 1;
};
/// None if the op is no product, or its weights are of another type.
std::optional<Fp8Product> fp8_product(const plan::Op& op);
/// Rows and columns of matrices in fp8 are multiples of it: cuBLASLt wants whole 16 bytes.
inline constexpr std::int64_t kFp8Multiple = 16;

/// What a product of weights in fp8 depends on, beside the plan.
struct Fp8Support {
  std::int64_t capability_major = 0;  // of the GPU
  std::int64_t capability_minor = 0;
  std::int64_t cublaslt = 0;  // as cublasLtGetVersion() says: 120905 is 12.9.5
};
/// @throws Error{invalid_input} if weights are fp8, and the GPU or cuBLASLt has no product of them with a scale for
/// each
///         row (CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F: compute capability 9.0 alone, cuBLASLt 12.9 or newer).
/// Source: documentation of cuBLAS 13.0, cublasLtMatmulMatrixScale_t
void require_fp8_support(const plan::Plan& plan, Fp8Support support);

/// Whether a step is captured in a graph and launched whole. Unless the scenario says, it is, but for plans whose steps
/// overlap, as a graph starts when the one before has ended, and for those where host_counts().
bool captures_steps(const plan::Plan& plan);

/// @throws Error{invalid_input} naming what the backend has not: element types other than fp32, fp16 and bf16, or
///         several at once, but for weights in fp8 with all else in bf16; fp8 in matrices that are no multiples of
///         kFp8Multiple, or where only the device knows how many rows an expert has; micro-stages; graphs of steps that
///         overlap or in which the host counts; an NCCL algorithm that differs between the communications of one kind.
///         The message says what to --set.
void require_cuda_can_run(const plan::Plan& plan);

/// The value of NCCL_ALGO under which NCCL carries out the algorithms that the plan names: "allreduce:ring;…", or ""
/// if it has no collective.
std::string nccl_algorithms(const plan::Plan& plan);

}  // namespace foretoken::runtime::cuda
