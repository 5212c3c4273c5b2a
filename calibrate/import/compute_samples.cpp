#include "calibrate/import/compute_samples.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string_view>

#include "calibrate/import/csv_table.hpp"
#include "core/error.hpp"
#include "core/json_reader.hpp"

namespace foretoken::calibrate {

namespace {

constexpr std::int64_t kDimensionMax = std::int64_t{1} << 24;
constexpr double kMillisecondsMin = 1e-5;
constexpr double kMillisecondsMax = 1e6;

// One row of a table whose columns were asked for in the order of `names`, read by name.
class Row {
 public:
  Row(const CsvTable& table, std::span<const std::string_view> names, std::size_t row)
      : table_(table), names_(names), row_(row) {}

  [[nodiscard]] const std::string& text(std::string_view name) const { return table_.text(row_, column(name)); }
  [[nodiscard]] std::int64_t integer(std::string_view name, std::int64_t min, std::int64_t max) const {
    return table_.integer(row_, column(name), min, max);
  }
  [[nodiscard]] Seconds latency(std::string_view name = "latency_ms") const {
    return Seconds(table_.number(row_, column(name), kMillisecondsMin, kMillisecondsMax) * 1e-3);
  }
  // Nothing for the block-scaled formats, whose scales are work of their own.
  [[nodiscard]] std::optional<DType> dtype(std::string_view name) const {
    const std::string& found = text(name);
    if (found == "bfloat16") return DType::bf16;
    if (found == "fp8") return DType::fp8;
    if (found == "fp8_block") return std::nullopt;
    fail(name, "write bfloat16, fp8 or fp8_block");
  }
  [[noreturn]] void fail(std::string_view name, std::string_view expected) const {
    table_.fail(row_, column(name), expected);
  }

 private:
  [[nodiscard]] std::size_t column(std::string_view name) const {
    const auto found = std::find(names_.begin(), names_.end(), name);
    FORETOKEN_CHECK(found != names_.end(), "a column is read that was not asked for");
    return static_cast<std::size_t>(found - names_.begin());
  }

  const CsvTable& table_;
  std::span<const std::string_view> names_;
  std::size_t row_;
};

Samples<AttentionSample> read_attention(const std::filesystem::path& path, bool decode) {
  static constexpr std::array<std::string_view, 10> names{"framework", "heads", "kv_heads", "head_dim", "window",
                                                          "kv_dtype",  "batch", "isl",      "step",     "latency_ms"};
  const CsvTable table = CsvTable::from_file(path, names);
  Samples<AttentionSample> out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row(table, names, i);
    AttentionSample sample;
    sample.framework = row.text("framework");
    sample.heads = row.integer("heads", 1, kDimensionMax);
    sample.kv_heads = row.integer("kv_heads", 1, sample.heads);
    if (sample.heads % sample.kv_heads != 0)
      row.fail("kv_heads", fmt::format("write a divisor of heads = {}", sample.heads));
    sample.head_dim = row.integer("head_dim", 1, kDimensionMax);
    sample.batch = row.integer("batch", 1, kDimensionMax);
    sample.query = row.integer("isl", 1, decode ? 1 : kDimensionMax);
    const std::int64_t prefix = row.integer("step", 0, kDimensionMax);
    const std::int64_t window = row.integer("window", 0, kDimensionMax);
    sample.context = sample.query + prefix;
    sample.time = row.latency();
    const std::optional<DType> dtype = row.dtype("kv_dtype");
    if (!dtype || window != 0 || (!decode && prefix != 0)) {
      ++out.left_out;
      continue;
    }
    sample.kv_dtype = *dtype;
    out.samples.push_back(std::move(sample));
  }
  return out;
}

// `framework` empty: it is a column.
Samples<GemmSample> read_gemm(const std::filesystem::path& path, std::span<const std::string_view> names,
                              std::string_view dtype_name, std::string_view latency_name,
                              const std::string& framework) {
  const CsvTable table = CsvTable::from_file(path, names);
  Samples<GemmSample> out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row(table, names, i);
    GemmSample sample{framework.empty() ? row.text("framework") : framework,
                      DType::bf16,
                      row.integer("m", 1, kDimensionMax),
                      row.integer("n", 1, kDimensionMax),
                      row.integer("k", 1, kDimensionMax),
                      row.latency(latency_name)};
    const std::optional<DType> dtype = row.dtype(dtype_name);
    if (!dtype) {
      ++out.left_out;
      continue;
    }
    sample.dtype = *dtype;
    out.samples.push_back(std::move(sample));
  }
  return out;
}

// "2570" or a number, or a range "2495-2534", of which the middle is taken. Nothing if it is neither.
std::optional<double> middle_of(const JsonReader& value) {
  if (value.is_number()) return value.as_number(0, 1e6);
  const std::string text = value.as_string();
  double low = 0, high = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, low);
  if (first.ec != std::errc()) return std::nullopt;
  if (first.ptr == end) return low;
  if (*first.ptr != '-') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, high);
  if (second.ec != std::errc() || second.ptr != end || high < low) return std::nullopt;
  return (low + high) / 2;
}

}  // namespace

Samples<GemmSample> read_gemm_samples(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 6> names{"framework", "dtype", "m", "n", "k", "latency_ms"};
  return read_gemm(path, names, "dtype", "latency_ms", {});
}

Samples<GemmSample> read_gemm_row_sweep(const std::filesystem::path& path, const std::string& framework) {
  static constexpr std::array<std::string_view, 5> names{"gemm_dtype", "m", "n", "k", "latency"};
  return read_gemm(path, names, "gemm_dtype", "latency", framework);
}

Samples<AttentionSample> read_decode_samples(const std::filesystem::path& path) { return read_attention(path, true); }

Samples<AttentionSample> read_prefill_samples(const std::filesystem::path& path) { return read_attention(path, false); }

Samples<MoeSample> read_moe_samples(const std::filesystem::path& path) {
  static constexpr std::array<std::string_view, 9> names{
      "framework", "model", "moe_dtype", "num_tokens", "moe_tp", "moe_ep", "distribution", "latency_ms", "flag"};
  const CsvTable table = CsvTable::from_file(path, names);
  Samples<MoeSample> out;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row(table, names, i);
    MoeSample sample{row.text("framework"), row.text("model"), row.integer("num_tokens", 1, kDimensionMax),
                     row.latency()};
    const bool whole = row.integer("moe_tp", 1, kDimensionMax) == 1 && row.integer("moe_ep", 1, kDimensionMax) == 1;
    if (whole && row.dtype("moe_dtype") == DType::bf16 && row.text("distribution") == "balanced" &&
        row.text("flag").empty())
      out.samples.push_back(std::move(sample));
    else ++out.left_out;
  }
  return out;
}

Samples<BytesPerSecond> read_copy_bandwidths(const std::filesystem::path& path) {
  const JsonDocument document = JsonDocument::from_file(path);
  JsonObject root(document.root());
  Samples<BytesPerSecond> out;
  for (const JsonReader& place : root.require("rows").as_array(1, 100'000)) {
    JsonObject row(place);
    const bool copy = row.require("kind").as_string() == "memory" && row.require("unit").as_string() == "GB/s" &&
                      row.require("reliability").as_string() == "A" &&
                      row.require("metric").as_string().find("local copy") != std::string::npos;
    if (!copy) {
      ++out.left_out;
      continue;
    }
    const JsonReader value = row.require("value");
    const std::optional<double> rate = middle_of(value);
    if (!rate || !(*rate > 0)) value.fail(value.shown(), "a positive number of GB/s or a range low-high is expected");
    out.samples.emplace_back(*rate * 1e9);
  }
  return out;
}

}  // namespace foretoken::calibrate
