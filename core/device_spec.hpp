// A GPU as its datasheet describes it. A calibration says what of that is achieved.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "core/dtype.hpp"
#include "core/units.hpp"

namespace foretoken {

struct DeviceSpec {
  std::string name;  // "H100-SXM5-80GB": what calibrations refer to
  std::string source;
  Bytes memory;
  BytesPerSecond memory_bandwidth;
  Bytes l2;
  std::int64_t sms = 0;
  std::map<DType, FlopsPerSecond> peak;  // dense, tensor cores where the type has them
};

/// Reads topologies/devices/*.json: `{"schema_version": 1, "kind": "device", "name", "source", "memory",
/// "memory_bandwidth", "l2", "sms", "peak": {"fp16": "989 TFLOP/s", ...}}`.
/// @throws Error{invalid_input} naming file, pointer, what was found and what would be right
DeviceSpec read_device_spec(const std::filesystem::path& file);

}  // namespace foretoken
