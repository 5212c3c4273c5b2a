// How the products of a rank's experts are made on a GPU.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace foretoken::runtime::cuda {

enum class ExpertProducts : std::uint8_t {
  each,   // a product per expert, with as many rows as it has
  batch,  // one strided batch: every expert's rows are padded to those of the one that has most
};

constexpr std::array<std::pair<ExpertProducts, std::string_view>, 2> kExpertProductsNames{
    {{ExpertProducts::each, "each"}, {ExpertProducts::batch, "batch"}}};

constexpr std::string_view name_of(ExpertProducts products) {
  return kExpertProductsNames[static_cast<std::size_t>(products)].second;
}

}  // namespace foretoken::runtime::cuda
