// Element types of tensors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace foretoken {

enum class DType : std::uint8_t { fp32, fp16, bf16, fp8, int32 };

constexpr std::array<std::pair<DType, std::string_view>, 5> kDTypeNames{{{DType::fp32, "fp32"},
                                                                         {DType::fp16, "fp16"},
                                                                         {DType::bf16, "bf16"},
                                                                         {DType::fp8, "fp8"},
                                                                         {DType::int32, "int32"}}};

constexpr std::string_view name_of(DType dtype) { return kDTypeNames[static_cast<std::size_t>(dtype)].second; }

constexpr std::int64_t bytes_per_element(DType dtype) {
  switch (dtype) {
    case DType::fp32:
    case DType::int32: return 4;
    case DType::fp16:
    case DType::bf16: return 2;
    case DType::fp8: return 1;
  }
  return 0;
}

}  // namespace foretoken
