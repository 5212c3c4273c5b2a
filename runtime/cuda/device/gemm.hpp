// Matrix products by cuBLASLt: row-major, in one element type, summed up in fp32.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/cuda/device/kernels.hpp"

namespace foretoken::runtime::cuda {

/// A stream's own room for split sums: products on two streams may run at one time.
struct GemmWorkspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};

/// `batch` products of matrices that stand behind one another: strides are the matrices' sizes.
struct GemmShape {
  std::int64_t rows = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t batch = 1;
  bool fp32_out = false;  // the router's logits
  bool fp8_in = false;    // both factors in E4M3, the weight stored by columns
  auto operator<=>(const GemmShape&) const = default;
};

class Gemm {
 public:
  /// Loads cuBLASLt. @throws Error{invalid_input} if it is not there
  Gemm();
  ~Gemm();
  Gemm(const Gemm&) = delete;
  Gemm& operator=(const Gemm&) = delete;

  /// out[rows, n] = in[rows, k] x weight[k, n], for every matrix of the batch. Nothing if it is empty.
  ///
  /// The algorithm is the first that cuBLASLt's heuristic names for the shape and the pointers' alignment; it is kept,
  /// so that a shape has one for all steps and captured graphs.
  /// @throws Error{rank_failed} if cuBLASLt has none, or fails
  void run(Queue queue, GemmWorkspace workspace, const GemmShape& shape, const void* in, const void* weight, void* out);

  /// One product per expert: rows stand by expert without gaps, weights are stacked. @param rows_of_expert [expert]
  void run_grouped(Queue queue, GemmWorkspace workspace, std::span<const std::int64_t> rows_of_expert, std::int64_t n,
                   std::int64_t k, const void* in, const void* weights, void* out);

  /// Factors in E4M3, multiplied by their scales: out = alpha x in_scale[row] x (in x weight), in queue.dtype.
  struct Fp8 {
    const std::uint8_t* in = nullptr;      // [rows, k], each row times …
    const float* in_scales = nullptr;      // … [rows], aligned to 16 bytes
    const std::uint8_t* weight = nullptr;  // [n, k]: stored by columns
    const float* ones = nullptr;           // [n], of all columns
    float alpha = 1;                       // the weight's scale
  };
  /// As run(). n and k are multiples of 16. Precondition: require_fp8_support()
  void run_fp8(Queue queue, GemmWorkspace workspace, std::int64_t rows, std::int64_t n, std::int64_t k,
               const Fp8& factors, void* out);
  /// As run_grouped(): factors of the first expert, with scales as first_scale() places them.
  void run_grouped_fp8(Queue queue, GemmWorkspace workspace, std::span<const std::int64_t> rows_of_expert,
                       std::int64_t n, std::int64_t k, Fp8 factors, void* out);

  /// As cublasLtGetVersion() says: 130000
  [[nodiscard]] std::int64_t version_number() const;
  /// "cuBLASLt 13.0.0"
  [[nodiscard]] std::string version() const;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace foretoken::runtime::cuda
