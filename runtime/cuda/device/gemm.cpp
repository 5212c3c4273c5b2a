#include "runtime/cuda/device/gemm.hpp"

#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "core/error.hpp"
#include "runtime/cuda/device/loaded_library.hpp"
#include "runtime/cuda/e4m3.hpp"

namespace foretoken::runtime::cuda {
namespace {

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return CUDA_R_32F;
    case DType::fp16: return CUDA_R_16F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::fp8:
    case DType::int32: break;
  }
  FORETOKEN_CHECK(false, "no products in this element type");
}

// The largest power of two, up to what cuBLASLt asks for, that divides an address.
std::uint32_t alignment_of(const void* data) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  std::uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

}  // namespace

struct Gemm::Library {
  Library()
      : loaded({fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR), "libcublasLt.so"}, "cuBLAS of the CUDA toolkit") {
    loaded.find(create, "cublasLtCreate");
    loaded.find(destroy, "cublasLtDestroy");
    loaded.find(version, "cublasLtGetVersion");
    loaded.find(status_name, "cublasLtGetStatusName");
    loaded.find(desc_create, "cublasLtMatmulDescCreate");
    loaded.find(desc_destroy, "cublasLtMatmulDescDestroy");
    loaded.find(desc_set, "cublasLtMatmulDescSetAttribute");
    loaded.find(layout_create, "cublasLtMatrixLayoutCreate");
    loaded.find(layout_destroy, "cublasLtMatrixLayoutDestroy");
    loaded.find(layout_set, "cublasLtMatrixLayoutSetAttribute");
    loaded.find(preference_create, "cublasLtMatmulPreferenceCreate");
    loaded.find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    loaded.find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    loaded.find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    loaded.find(matmul, "cublasLtMatmul");
  }

  void check(cublasStatus_t status, const std::string& call) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw Error(ErrorCode::rank_failed, fmt::format("{} failed: {}", call, status_name(status)));
  }

  LoadedLibrary loaded;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) version = nullptr;
  decltype(&cublasLtGetStatusName) status_name = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;

  cublasLtHandle_t handle = nullptr;

  // What a product is done with, made once per shape.
  struct Product {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t weight = nullptr;
    cublasLtMatrixLayout_t in = nullptr;
    cublasLtMatrixLayout_t out = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  using Key = std::tuple<GemmShape, DType, std::size_t, std::uint32_t, std::uint32_t, std::uint32_t>;
  std::map<Key, Product> products;

  // cuBLASLt counts in columns: a row-major matrix is its transpose there, so out^T = weight^T x in^T.
  cublasLtMatrixLayout_t layout(cudaDataType_t type, std::int64_t row_size, std::int64_t rows, std::int64_t batch) {
    cublasLtMatrixLayout_t made = nullptr;
    check(layout_create(&made, type, static_cast<std::uint64_t>(row_size), static_cast<std::uint64_t>(rows), row_size),
          "cublasLtMatrixLayoutCreate");
    if (batch > 1) {
      const auto count = static_cast<std::int32_t>(batch);
      const std::int64_t stride = row_size * rows;
      check(layout_set(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
            "cublasLtMatrixLayoutSetAttribute");
      check(layout_set(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
            "cublasLtMatrixLayoutSetAttribute");
    }
    return made;
  }

  template <class Value>
  void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const Value& value) const {
    check(desc_set(operation, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }

  // cuBLASLt multiplies fp8 only if both factors run along the sum: the weight is stored by columns, and so transposed
  // once more.
  void set_fp8(cublasLtMatmulDesc_t operation, const float* weight_scales, const float* in_scales) const {
    const auto per_row = static_cast<std::int32_t>(CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    const auto transposed = static_cast<std::int32_t>(CUBLAS_OP_T);
    const std::int8_t exact_sums = 0;
    set(operation, CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    set(operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM, exact_sums);
    set(operation, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, per_row);
    set(operation, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, per_row);
    set(operation, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, weight_scales);
    set(operation, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, in_scales);
  }

  /// @param set_scales (operation): where the shape has factors in fp8
  template <class SetScales>
  const Product& product(const GemmShape& shape, DType dtype, std::size_t workspace, const void* in, const void* weight,
                         const void* out, const SetScales& set_scales) {
    const Key key{shape, dtype, workspace, alignment_of(in), alignment_of(weight), alignment_of(out)};
    const auto found = products.find(key);
    if (found != products.end()) return found->second;
    const cudaDataType_t type = data_type(dtype);
    Product product;
    // In fp32 no TF32: the sums are those of fp32, as everywhere.
    check(desc_create(&product.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set_scales(product.operation);
    const cudaDataType_t factor = shape.fp8_in ? CUDA_R_8F_E4M3 : type;
    product.weight =
        shape.fp8_in ? layout(factor, shape.k, shape.n, shape.batch) : layout(factor, shape.n, shape.k, shape.batch);
    product.in = layout(factor, shape.k, shape.rows, shape.batch);
    product.out = layout(shape.fp32_out ? CUDA_R_32F : type, shape.n, shape.rows, shape.batch);
    cublasLtMatmulPreference_t preference = nullptr;
    check(preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      check(preference_set(preference, attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
    };
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{workspace});
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(weight));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(in));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(out));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(out));
    cublasLtMatmulHeuristicResult_t result{};
    int results = 0;
    const cublasStatus_t status = heuristic(handle, product.operation, product.weight, product.in, product.out,
                                            product.out, preference, 1, &result, &results);
    check(preference_destroy(preference), "cublasLtMatmulPreferenceDestroy");
    const std::string what =
        fmt::format("cublasLtMatmulAlgoGetHeuristic for {} x [{} x {}] x [{} x {}] in {}", shape.batch, shape.rows,
                    shape.k, shape.k, shape.n, shape.fp8_in ? "fp8" : name_of(dtype));
    check(status, what);
    if (results == 0) throw Error(ErrorCode::rank_failed, what + " found no algorithm");
    product.algorithm = result.algo;
    return products.emplace(key, product).first->second;
  }
};

Gemm::Gemm() : library_(std::make_unique<Library>()) {
  library_->check(library_->create(&library_->handle), "cublasLtCreate");
}

Gemm::~Gemm() {
  for (auto& entry : library_->products) {
    library_->desc_destroy(entry.second.operation);
    for (const cublasLtMatrixLayout_t layout : {entry.second.weight, entry.second.in, entry.second.out})
      library_->layout_destroy(layout);
  }
  library_->destroy(library_->handle);
}

void Gemm::run(Queue queue, GemmWorkspace workspace, const GemmShape& shape, const void* in, const void* weight,
               void* out) {
  if (shape.rows == 0 || shape.batch == 0) return;
  const Library::Product& product = library_->product(shape, queue.dtype, workspace.bytes, in, weight, out,
                                                      [](cublasLtMatmulDesc_t /*operation*/) {});
  const float one = 1;
  const float zero = 0;
  library_->check(library_->matmul(library_->handle, product.operation, &one, weight, product.weight, in, product.in,
                                   &zero, out, product.out, out, product.out, &product.algorithm, workspace.data,
                                   workspace.bytes, queue.stream),
                  "cublasLtMatmul");
}

void Gemm::run_grouped(Queue queue, GemmWorkspace workspace, std::span<const std::int64_t> rows_of_expert,
                       std::int64_t n, std::int64_t k, const void* in, const void* weights, void* out) {
  const std::int64_t size = bytes_per_element(queue.dtype);
  const auto* source = static_cast<const std::byte*>(in);
  const auto* weight = static_cast<const std::byte*>(weights);
  auto* target = static_cast<std::byte*>(out);
  for (const std::int64_t rows : rows_of_expert) {
    run(queue, workspace, {rows, n, k}, source, weight, target);
    source += rows * k * size;
    weight += n * k * size;
    target += rows * n * size;
  }
}

void Gemm::run_fp8(Queue queue, GemmWorkspace workspace, std::int64_t rows, std::int64_t n, std::int64_t k,
                   const Fp8& factors, void* out) {
  if (rows == 0) return;
  GemmShape shape{rows, n, k};
  shape.fp8_in = true;
  const auto set_scales = [&](cublasLtMatmulDesc_t operation) {
    library_->set_fp8(operation, factors.ones, factors.in_scales);
  };
  const Library::Product& product =
      library_->product(shape, queue.dtype, workspace.bytes, factors.in, factors.weight, out, set_scales);
  set_scales(product.operation);  // which another tensor of the shape may have set
  const float zero = 0;
  library_->check(library_->matmul(library_->handle, product.operation, &factors.alpha, factors.weight, product.weight,
                                   factors.in, product.in, &zero, out, product.out, out, product.out,
                                   &product.algorithm, workspace.data, workspace.bytes, queue.stream),
                  "cublasLtMatmul");
}

void Gemm::run_grouped_fp8(Queue queue, GemmWorkspace workspace, std::span<const std::int64_t> rows_of_expert,
                           std::int64_t n, std::int64_t k, Fp8 factors, void* out) {
  const float* const scales = factors.in_scales;
  auto* target = static_cast<std::byte*>(out);
  std::int64_t first_row = 0;
  for (std::size_t expert = 0; expert < rows_of_expert.size(); ++expert) {
    const std::int64_t rows = rows_of_expert[expert];
    factors.in_scales = scales + first_scale(static_cast<std::int64_t>(expert), first_row);
    run_fp8(queue, workspace, rows, n, k, factors, target);
    factors.in += rows * k;
    factors.weight += n * k;
    target += rows * n * bytes_per_element(queue.dtype);
    first_row += rows;
  }
}

std::int64_t Gemm::version_number() const { return static_cast<std::int64_t>(library_->version()); }

std::string Gemm::version() const {
  const std::int64_t version = version_number();
  return fmt::format("cuBLASLt {}.{}.{}", version / 10'000, version / 100 % 100, version % 100);
}

}  // namespace foretoken::runtime::cuda
