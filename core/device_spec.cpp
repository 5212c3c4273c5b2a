#include "core/device_spec.hpp"

#include "core/json_reader.hpp"
#include "core/schema_header.hpp"

namespace foretoken {

DeviceSpec read_device_spec(const std::filesystem::path& file) {
  const JsonDocument document = JsonDocument::from_file(file);
  JsonObject root(document.root());
  read_schema_header(root, "device", 1);
  DeviceSpec device;
  device.name = root.require("name").as_string();
  device.source = root.require("source").as_string();
  device.memory = root.require("memory").as_bytes(Bytes(1 << 20), Bytes(std::int64_t{1} << 50));
  device.memory_bandwidth = root.require("memory_bandwidth").as_bandwidth(BytesPerSecond(1e6), BytesPerSecond(1e15));
  device.l2 = root.require("l2").as_bytes(Bytes(0), Bytes(std::int64_t{1} << 40));
  device.sms = root.require("sms").as_integer(1, 100'000);
  JsonObject peak(root.require("peak"));
  for (const auto& [dtype, name] : kDTypeNames) {
    if (const auto rate = peak.optional(name))
      device.peak[dtype] = rate->as_flop_rate(FlopsPerSecond(1e6), FlopsPerSecond(1e18));
  }
  peak.finish();
  if (device.peak.empty()) peak.place().fail("no peak rate is given", "add at least one, such as \"fp16\": \"989 TFLOP/s\"");
  root.finish();
  return device;
}

}  // namespace foretoken
