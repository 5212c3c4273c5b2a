#include "runtime/cuda/device/elements.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstring>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {
namespace {

template <class T, class From>
std::vector<std::byte> converted(std::span<const float> values, const From& from) {
  std::vector<std::byte> bytes(values.size() * sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const T element = from(values[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
  }
  return bytes;
}

template <class T, class To>
std::vector<float> converted_back(std::span<const std::byte> bytes, const To& to) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = to(element);
  }
  return values;
}

}  // namespace

std::vector<std::byte> to_bytes(DType dtype, std::span<const float> values) {
  switch (dtype) {
    case DType::fp32: return converted<float>(values, [](float x) { return x; });
    case DType::fp16: return converted<__half>(values, [](float x) { return __float2half_rn(x); });
    case DType::bf16: return converted<__nv_bfloat16>(values, [](float x) { return __float2bfloat16_rn(x); });
    case DType::fp8:
    case DType::int32: break;
  }
  FORETOKEN_CHECK(false, "no such elements");
}

std::vector<float> to_floats(DType dtype, std::span<const std::byte> bytes) {
  switch (dtype) {
    case DType::fp32: return converted_back<float>(bytes, [](float x) { return x; });
    case DType::fp16: return converted_back<__half>(bytes, [](__half x) { return __half2float(x); });
    case DType::bf16: return converted_back<__nv_bfloat16>(bytes, [](__nv_bfloat16 x) { return __bfloat162float(x); });
    case DType::fp8:
    case DType::int32: break;
  }
  FORETOKEN_CHECK(false, "no such elements");
}

}  // namespace foretoken::runtime::cuda
