#include "calibrate/import/imported.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "calibrate/import/log_text.hpp"

namespace foretoken::calibrate {

ImportSettings::ImportSettings(std::span<const std::string> assignments) {
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0)
      throw input_error("--set " + assignment, "", "is not key=value", "write for example --set tokens=128");
    if (!values_.emplace(assignment.substr(0, equals), assignment.substr(equals + 1)).second)
      throw input_error("--set " + assignment, "", "the key is given twice", "keep one of them");
  }
}

std::optional<std::string> ImportSettings::text(std::string_view key) {
  wanted_.emplace(key);
  const auto found = values_.find(key);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::int64_t> ImportSettings::integer(std::string_view key, std::int64_t min, std::int64_t max) {
  const std::optional<std::string> value = text(key);
  if (!value) return std::nullopt;
  const std::optional<std::int64_t> number = whole_number_in(*value);
  if (!number || *number < min || *number > max)
    throw input_error(fmt::format("--set {}={}", key, *value), "",
                      number ? "the value is out of range" : "the value is no whole number",
                      fmt::format("write a whole number from {} to {}", min, max));
  return number;
}

std::int64_t ImportSettings::require_integer(std::string_view key, std::int64_t min, std::int64_t max,
                                             std::string_view log, std::string_view example) {
  const std::optional<std::int64_t> value = integer(key, min, max);
  if (!value) throw missing(key, log, example);
  return *value;
}

std::string ImportSettings::require_text(std::string_view key, std::string_view log, std::string_view example) {
  const std::optional<std::string> value = text(key);
  if (!value) throw missing(key, log, example);
  return *value;
}

Error ImportSettings::missing(std::string_view key, std::string_view log, std::string_view example) {
  const Error error =
      input_error(log, "", fmt::format("the log does not say {}", key), fmt::format("add --set {}={}", key, example));
  if (!missing_) missing_ = error;
  return error;
}

void ImportSettings::finish() const {
  if (missing_) throw *missing_;
  for (const auto& [key, value] : values_)
    if (!wanted_.contains(key))
      throw input_error(fmt::format("--set {}={}", key, value), "", "this log says so itself, or has no such thing",
                        "leave it out");
}

void Imported::damaged(const Error& error) {
  if (!keep_good_ || error.code() != ErrorCode::invalid_input) throw error;
  damage_.emplace_back(error.what());
}

std::string LogPlace::at(std::size_t line) const { return fmt::format("{}:{}", name, line); }

Error LogPlace::error(std::size_t line, std::string_view found, std::string_view expected) const {
  return input_error(at(line), "", found, expected);
}

std::optional<DType> dtype_named(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, DType>, 15> names{{{"float", DType::fp32},
                                                                             {"float32", DType::fp32},
                                                                             {"fp32", DType::fp32},
                                                                             {"half", DType::fp16},
                                                                             {"float16", DType::fp16},
                                                                             {"fp16", DType::fp16},
                                                                             {"bfloat16", DType::bf16},
                                                                             {"bf16", DType::bf16},
                                                                             {"int32", DType::int32},
                                                                             {"fp8", DType::fp8},
                                                                             {"fp8_e4m3", DType::fp8},
                                                                             {"fp8e4m3", DType::fp8},
                                                                             {"f8e4m3", DType::fp8},
                                                                             {"f8e5m2", DType::fp8},
                                                                             {"fp8e5m2", DType::fp8}}};
  for (const auto& [known, dtype] : names)
    if (name == known) return dtype;
  return std::nullopt;
}

std::string_view collective_named(std::string_view name) {
  if (const std::size_t slash = name.rfind('/'); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  if (const std::size_t suffix = name.find("_perf"); suffix != std::string_view::npos) name = name.substr(0, suffix);
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 8> names{
      {{"all_reduce", "all_reduce"},
       {"all_gather", "all_gather"},
       {"reduce_scatter", "reduce_scatter"},
       {"alltoall", "all_to_all"},
       {"all_to_all", "all_to_all"},
       {"sendrecv", "send_recv"},
       {"send_recv", "send_recv"},
       {"allreduce", "all_reduce"}}};
  for (const auto& [known, op] : names)
    if (name == known) return op;
  return {};
}

}  // namespace foretoken::calibrate
