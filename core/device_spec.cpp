#include "core/device_spec.hpp"

#include "core/json_reader.hpp"
#include "core/schema_header.hpp"

namespace foretoken {

namespace {

// {"value": …, "source": "…"}: a number without a source is rejected.
JsonReader sourced(JsonObject& parent, std::string_view key, const std::string& label, DeviceSpec& spec) {
  JsonObject entry(parent.require(key));
  const JsonReader value = entry.require("value");
  spec.sources.push_back({label, entry.require("source").as_string()});
  entry.finish();
  return value;
}

}  // namespace

DeviceSpec read_device_spec(const std::filesystem::path& path) {
  const JsonDocument document = JsonDocument::from_file(path);
  JsonObject root(document.root());
  DeviceSpec spec;
  read_schema_header(root, "device", 1);
  spec.name = root.require("name").as_string();
  spec.memory = sourced(root, "memory", "memory", spec).as_bytes(Bytes(1), Bytes(std::int64_t{1} << 50));
  spec.memory_bandwidth =
      sourced(root, "memory_bandwidth", "memory_bandwidth", spec).as_bandwidth(BytesPerSecond(1), BytesPerSecond(1e15));
  spec.l2 = sourced(root, "l2", "l2", spec).as_bytes(Bytes(1), Bytes(std::int64_t{1} << 40));
  spec.sms = static_cast<int>(sourced(root, "sms", "sms", spec).as_integer(1, 100'000));
  JsonObject peaks(root.require("peak_flops"));
  for (const auto& [dtype, name] : kDTypeNames)
    if (peaks.has(name))
      spec.peak_flops[static_cast<std::size_t>(dtype)] = sourced(peaks, name, "peak_flops/" + std::string(name), spec)
                                                             .as_flop_rate(FlopsPerSecond(1), FlopsPerSecond(1e18));
  peaks.finish();
  root.finish();
  if (!spec.peak(DType::bf16))
    peaks.place().fail("has no \"bf16\"", "give the dense bf16 peak: every efficiency is measured against one");
  return spec;
}

}  // namespace foretoken
