#include "calibrate/fit/derive.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/error.hpp"

namespace foretoken::calibrate {

namespace {

Bytes scaled(Bytes bytes, double factor) { return Bytes(std::llround(static_cast<double>(bytes.value()) * factor)); }

void scale_compute(ComputeCalibration& compute, const DeviceSpec& measured, const DeviceSpec& device) {
  const double l2 = static_cast<double>(device.l2.value()) / static_cast<double>(measured.l2.value());
  compute.l2.hits_all_below = scaled(compute.l2.hits_all_below, l2);
  compute.l2.hits_none_above = scaled(compute.l2.hits_none_above, l2);
  compute.l2.bandwidth = compute.l2.bandwidth * (static_cast<double>(device.sms) / measured.sms);
  compute.memory.bandwidth = compute.memory.bandwidth * ratio(device.memory_bandwidth, measured.memory_bandwidth);
}

void scale_nvlink(NetworkCalibration& network, BytesPerSecond nvlink) {
  const double factor = ratio(nvlink, network.nvlink.nominal);
  network.nvlink.nominal = nvlink;
  const auto scale = [factor](BytesPerSecond& rate) { rate = rate * factor; };
  scale(network.ring.simple_wire_rate);
  scale(network.ring.simple_local_rate);
  scale(network.nvls.wire_rate);
  if (network.nvls_tree) scale(network.nvls_tree->wire_rate);
  scale(network.direct.one_shot_rate);
  scale(network.direct.two_shot_rate);
  scale(network.message_in_node.rate);
  for (ExchangeCalibration* exchange : {&network.dispatch, &network.combine}) scale(exchange->rate_in_node);
  for (auto* exchange : {&network.hierarchical_dispatch, &network.hierarchical_combine}) {
    if (!*exchange) continue;
    scale((*exchange)->rate_in_node);
    scale((*exchange)->rate_in_node_per_sm);
  }
}

}  // namespace

Calibration derive(const Calibration& from, const DeviceSpec& measured, const DeviceSpec& device,
                   const DeriveOptions& options) {
  if (from.host)
    throw input_error(from.file, "/host", "a calibration of a computer's CPUs cannot be derived from",
                      "measure that computer with foretoken calibrate host");
  if (from.derived)
    throw input_error(from.file, "/derived", fmt::format("is itself derived from {}", from.derived->from),
                      fmt::format("start from {}", from.derived->from));
  if (from.device.name != measured.name)
    throw input_error(
        from.file, "/device/name",
        fmt::format("\"{}\" was measured, but the datasheet is of \"{}\"", from.device.name, measured.name),
        fmt::format("give the datasheet of {}", from.device.name));
  const auto peak = device.peak(DType::bf16);
  FORETOKEN_CHECK(peak.has_value(), "every device states its bf16 peak");

  Calibration out = from;
  out.name = options.name;
  out.device = {device.name, device.memory_bandwidth, *peak};
  out.derived = Derivation{from.name, options.at_best};
  out.compute.at_best = out.network.at_best = options.at_best;
  scale_compute(out.compute, measured, device);
  if (options.nvlink) scale_nvlink(out.network, *options.nvlink);
  for (ExchangeCalibration* exchange : {&out.network.dispatch, &out.network.combine})
    if (exchange->blocks) exchange->blocks->sms = device.sms;
  for (CalibrationSource& source : out.sources)
    source.note = fmt::format("measured on {}. {}", measured.name, source.note);
  return out;
}

}  // namespace foretoken::calibrate
