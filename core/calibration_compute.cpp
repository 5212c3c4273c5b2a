#include "core/calibration_compute.hpp"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

namespace foretoken {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kKnotsMax = 64;
constexpr std::size_t kFitsMax = 64;
// exp(+-12) is 160,000: a kernel that far from its roofline is a broken file, not a slow kernel.
constexpr double kLogSlowdownMax = 12;

// Dividing (not multiplying by 1e-4) keeps the shortest decimal form, so the file shows 0.1235 and not
// 0.12350000000000001.
double rounded(double value, double per_unit) { return std::round(value * per_unit) / per_unit; }

std::string microseconds_text(Seconds time) { return fmt::format("{:.4f} us", microseconds(time)); }
std::string gigabytes_per_second(BytesPerSecond rate) { return fmt::format("{:.1f} GB/s", rate.value() / 1e9); }

Lattice read_lattice(const JsonReader& place, const std::vector<std::string>& axis_names) {
  JsonObject object(place);
  const JsonReader axes_place = object.require("axes");
  const std::vector<JsonReader> axes = axes_place.as_array(axis_names.size(), axis_names.size());
  Lattice lattice;
  for (std::size_t d = 0; d < axes.size(); ++d) {
    JsonObject axis(axes[d]);
    const JsonReader name = axis.require("name");
    if (name.as_string() != axis_names[d])
      name.fail(name.shown(), fmt::format("this axis must be \"{}\"", axis_names[d]));
    const JsonReader knots_place = axis.require("knots");
    LatticeAxis read{axis_names[d], knots_place.as_numbers(2, kKnotsMax, -64, 64)};
    for (std::size_t i = 1; i < read.knots.size(); ++i)
      if (!(read.knots[i] > read.knots[i - 1]))
        knots_place.fail(fmt::format("{} follows {}", read.knots[i], read.knots[i - 1]),
                         "knots must increase strictly");
    axis.finish();
    lattice.axes.push_back(std::move(read));
  }
  const JsonReader values = object.require("values");
  const std::size_t wanted = lattice.size();
  if (values.is_array() && values.json().size() != wanted)
    values.fail(fmt::format("has {} values", values.json().size()), fmt::format("the axes ask for {}", wanted));
  lattice.values = values.as_numbers(wanted, wanted, -kLogSlowdownMax, kLogSlowdownMax);
  object.finish();
  return lattice;
}

Seconds read_time(JsonObject& object, std::string_view key) {
  return object.require(key).as_duration(Seconds(0), Seconds(1));
}

void read_kernel_fit(JsonObject& object, const std::vector<std::string>& axis_names, KernelFit& fit) {
  fit.framework = object.require("framework").as_string();
  fit.source = object.require("source").as_string();
  const JsonReader floor = object.require("floor");
  fit.floor = floor.as_duration(Seconds(1e-9), Seconds(1));
  fit.log_slowdown = read_lattice(object.require("log_slowdown"), axis_names);
  fit.corner_sum_max = object.require("corner_sum_max").as_number(-128, 128);
  fit.held_out = read_held_out(object.require("held_out"));
}

GemmFit read_gemm_fit(const JsonReader& place) {
  JsonObject object(place);
  GemmFit fit;
  fit.dtype = object.require("dtype").as_enum(kDTypeNames);
  read_kernel_fit(object, {"log2_m", "log2_n", "log2_k"}, fit);
  object.finish();
  return fit;
}

AttentionFit read_attention_fit(const JsonReader& place, const std::string& second_axis) {
  JsonObject object(place);
  AttentionFit fit;
  fit.kv_dtype = object.require("kv_dtype").as_enum(kDTypeNames);
  fit.per_item = read_time(object, "per_item");
  fit.head_dims = object.require("head_dims").as_integers(1, 64, 1, 1 << 20);
  fit.group_min = object.require("group_min").as_integer(1, 1 << 20);
  fit.group_max = object.require("group_max").as_integer(fit.group_min, 1 << 20);
  read_kernel_fit(object, {"log2_items", second_axis}, fit);
  object.finish();
  return fit;
}

// One framework and dtype may be fitted once only: which of two would be used is nobody's guess.
template <class Fit>
std::vector<Fit> read_fits(const JsonReader& place, const std::function<Fit(const JsonReader&)>& read,
                           const std::function<std::string(const Fit&)>& identity) {
  std::vector<Fit> fits;
  for (const JsonReader& entry : place.as_array(0, kFitsMax)) {
    Fit fit = read(entry);
    for (const Fit& other : fits)
      if (identity(other) == identity(fit)) entry.fail(identity(fit) + " is fitted twice", "keep one of the fits");
    fits.push_back(std::move(fit));
  }
  return fits;
}

Json lattice_json(const Lattice& lattice) {
  Json axes = Json::array();
  for (const LatticeAxis& axis : lattice.axes) axes.push_back({{"name", axis.name}, {"knots", axis.knots}});
  Json values = Json::array();
  for (const double value : lattice.values) values.push_back(rounded(value, 1e4));
  return {{"axes", axes}, {"values", values}};
}

Json kernel_fit_json(const KernelFit& fit) {
  return {{"framework", fit.framework},
          {"source", fit.source},
          {"floor", microseconds_text(fit.floor)},
          {"log_slowdown", lattice_json(fit.log_slowdown)},
          {"corner_sum_max", rounded(fit.corner_sum_max, 1e4)},
          {"held_out", to_json(fit.held_out)}};
}

Json attention_json(const std::vector<AttentionFit>& fits) {
  Json out = Json::array();
  for (const AttentionFit& fit : fits) {
    Json entry = kernel_fit_json(fit);
    entry["kv_dtype"] = std::string(name_of(fit.kv_dtype));
    entry["per_item"] = microseconds_text(fit.per_item);
    entry["head_dims"] = fit.head_dims;
    entry["group_min"] = fit.group_min;
    entry["group_max"] = fit.group_max;
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

ComputeCalibration read_compute_calibration(const JsonReader& place) {
  JsonObject root(place);
  ComputeCalibration out;
  const JsonReader framework = root.require("default_framework");
  out.default_framework = framework.as_string();

  JsonObject l2(root.require("l2"));
  out.l2.source = l2.require("source").as_string();
  out.l2.hits_all_below = l2.require("hits_all_below").as_bytes(Bytes(0), Bytes(std::int64_t{1} << 40));
  out.l2.hits_none_above =
      l2.require("hits_none_above").as_bytes(out.l2.hits_all_below + Bytes(1), Bytes(std::int64_t{1} << 41));
  out.l2.bandwidth = l2.require("bandwidth").as_bandwidth(BytesPerSecond(1e6), BytesPerSecond(1e15));
  l2.finish();

  JsonObject memory(root.require("memory"));
  out.memory.source = memory.require("source").as_string();
  out.memory.floor = read_time(memory, "floor");
  out.memory.bandwidth = memory.require("bandwidth").as_bandwidth(BytesPerSecond(1e6), BytesPerSecond(1e15));
  memory.finish();

  const auto attention_identity = [](const AttentionFit& fit) {
    return fmt::format("{} with {} KV", fit.framework, name_of(fit.kv_dtype));
  };
  const JsonReader gemm = root.require("gemm");
  out.gemm = read_fits<GemmFit>(
      gemm, read_gemm_fit, [](const GemmFit& fit) { return fmt::format("{} {}", fit.framework, name_of(fit.dtype)); });
  out.attention_decode = read_fits<AttentionFit>(
      root.require("attention_decode"),
      [](const JsonReader& entry) { return read_attention_fit(entry, "log2_item_elements"); }, attention_identity);
  out.attention_prefill = read_fits<AttentionFit>(
      root.require("attention_prefill"),
      [](const JsonReader& entry) { return read_attention_fit(entry, "log2_query"); }, attention_identity);
  root.finish();

  bool default_is_fitted = false;
  for (const GemmFit& fit : out.gemm)
    default_is_fitted |= fit.framework == out.default_framework && fit.dtype == DType::bf16;
  if (!default_is_fitted) framework.fail(framework.shown(), "name a framework that has a bf16 fit in \"gemm\"");
  return out;
}

nlohmann::json to_json(const ComputeCalibration& calibration) {
  Json gemm = Json::array();
  for (const GemmFit& fit : calibration.gemm) {
    Json entry = kernel_fit_json(fit);
    entry["dtype"] = std::string(name_of(fit.dtype));
    gemm.push_back(std::move(entry));
  }
  return {{"default_framework", calibration.default_framework},
          {"l2",
           {{"source", calibration.l2.source},
            {"hits_all_below", fmt::format("{} B", calibration.l2.hits_all_below.value())},
            {"hits_none_above", fmt::format("{} B", calibration.l2.hits_none_above.value())},
            {"bandwidth", gigabytes_per_second(calibration.l2.bandwidth)}}},
          {"memory",
           {{"source", calibration.memory.source},
            {"floor", microseconds_text(calibration.memory.floor)},
            {"bandwidth", gigabytes_per_second(calibration.memory.bandwidth)}}},
          {"gemm", std::move(gemm)},
          {"attention_decode", attention_json(calibration.attention_decode)},
          {"attention_prefill", attention_json(calibration.attention_prefill)}};
}

}  // namespace foretoken
