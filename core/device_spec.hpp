// What a datasheet says about one GPU: the upper bounds that every prediction is measured against.
#pragma once

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.hpp"
#include "core/units.hpp"

namespace foretoken {

/// A GPU model. Each number in the file carries its source; `sources` keeps them for reports, in file order of keys.
struct DeviceSpec {
  std::string name;
  Bytes memory{};                     ///< capacity
  BytesPerSecond memory_bandwidth{};  ///< datasheet peak, reads and writes together
  Bytes l2{};                         ///< capacity
  int sms = 0;                        ///< streaming multiprocessors
  std::array<std::optional<FlopsPerSecond>, kDTypeNames.size()> peak_flops{};  ///< dense, by DType

  struct Source {
    std::string quantity;
    std::string source;
  };
  std::vector<Source> sources;

  [[nodiscard]] std::optional<FlopsPerSecond> peak(DType dtype) const {
    return peak_flops[static_cast<std::size_t>(dtype)];
  }
};

/// @throws Error{invalid_input} naming file and JSON pointer for anything missing, unknown or out of range
DeviceSpec read_device_spec(const std::filesystem::path& path);

}  // namespace foretoken
