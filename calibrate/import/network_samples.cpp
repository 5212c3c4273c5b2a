#include "calibrate/import/network_samples.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "calibrate/import/csv_table.hpp"
#include "calibrate/import/log_text.hpp"
#include "core/error.hpp"
#include "core/json_reader.hpp"
#include "sim/cost/token_exchange.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::int64_t kRanksMax = 1 << 16;
constexpr std::int64_t kBytesMax = std::int64_t{1} << 50;
constexpr std::int64_t kShapeMax = 1 << 24;
constexpr double kMicrosecondsMin = 1e-3;
constexpr int kGpusPerNode = 8;

Seconds from_us(double value) { return Seconds(value * 1e-6); }

Seconds time_of(const CsvTable& table, std::size_t row, std::size_t column, double us_per_unit) {
  return from_us(us_per_unit *
                 table.number(row, column, kMicrosecondsMin / us_per_unit, kMicrosecondsMax / us_per_unit));
}

int small(const CsvTable& table, std::size_t row, std::size_t column, std::int64_t max) {
  return static_cast<int>(table.integer(row, column, 1, max));
}

Bytes bytes_of(const CsvTable& table, std::size_t row, std::size_t column) {
  return Bytes(table.integer(row, column, 1, kBytesMax));
}

std::optional<CollectiveOp> op_named(std::string_view name) {
  for (const auto& [op, op_name] : kCollectiveOpNames) {
    if (op_name == name) return op;
  }
  return std::nullopt;
}

/// Rows of a JSON file that holds {"title", "rows": [...]}, without those known to be bad.
std::vector<JsonObject> good_rows(const std::filesystem::path& path) {
  constexpr std::size_t rows_max = 100'000;
  JsonObject file(JsonDocument::from_file(path).root());
  std::vector<JsonObject> rows;
  for (const JsonReader& place : file.require("rows").as_array(0, rows_max)) {
    JsonObject row(place);
    if (row.require("reliability").as_string() != "X") rows.push_back(std::move(row));
  }
  return rows;
}

int small(JsonObject& row, std::string_view key, std::int64_t max) {
  return static_cast<int>(row.require(key).as_integer(1, max));
}

bool is_null(JsonObject& row, std::string_view key) {
  const std::optional<JsonReader> place = row.optional(key);
  return !place || place->json().is_null();
}

/// A number, or text such as "371-377 (typ. 376)".
double point_value(const JsonReader& place) {
  constexpr double value_max = 1e12;
  if (place.is_number()) return place.as_number(1e-12, value_max);
  constexpr std::string_view typical = "typ. ";
  const std::string text = place.as_string();
  const std::size_t start = text.find(typical);
  double value = 0.0;
  if (start != std::string::npos) {
    const char* first = text.data() + start + typical.size();
    const auto [rest, status] = std::from_chars(first, text.data() + text.size(), value);
    if (status == std::errc() && value > 0.0 && value < value_max) return value;
  }
  place.fail(place.shown(), "write a positive number, or a range with \"(typ. <number>)\"");
}

// What all tables of DeepEP have in their first five columns: node_num, hidden_size, num_token, num_topk, num_experts.
ExchangeSample exchange_of(const CsvTable& table, std::size_t row, const std::string& group) {
  ExchangeSample sample;
  sample.group = group;
  sample.nodes = small(table, row, 0, kRanksMax / kGpusPerNode);
  sample.ranks = sample.nodes * kGpusPerNode;
  sample.hidden = small(table, row, 1, kShapeMax);
  sample.tokens = small(table, row, 2, kShapeMax);
  sample.top_k = small(table, row, 3, kShapeMax);
  sample.experts = small(table, row, 4, kShapeMax);
  return sample;
}

}  // namespace

std::vector<CollectiveSample> read_nccl_table(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 5> columns{"op", "dtype", "num_gpus", "bytes", "latency_ms"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<CollectiveSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const std::optional<CollectiveOp> op = op_named(table.text(row, 0));
    if (!op) table.fail(row, 0, "write all_reduce, all_gather or reduce_scatter");
    samples.push_back({table.text(row, 1), *op, small(table, row, 2, kRanksMax), 1, bytes_of(table, row, 3),
                       time_of(table, row, 4, 1e3)});
  }
  return samples;
}

std::vector<CollectiveSample> read_nccl_runs(const std::filesystem::path& path) {
  std::vector<CollectiveSample> samples;
  for (JsonObject& row : good_rows(path)) {
    const std::optional<CollectiveOp> op = op_named(row.require("collective").as_string());
    if (!op || is_null(row, "size_B") || is_null(row, "oop_time_us")) continue;
    CollectiveSample sample;
    sample.group = row.require("run").as_string();
    sample.op = *op;
    sample.ranks = small(row, "gpus", kRanksMax);
    sample.nodes = small(row, "nodes", kRanksMax);
    sample.bytes = Bytes(row.require("size_B").as_integer(1, kBytesMax));
    sample.time = from_us(row.require("oop_time_us").as_number(kMicrosecondsMin, kMicrosecondsMax));
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<CollectiveSample> read_custom_all_reduce(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 4> columns{"kernel", "num_gpus", "bytes", "latency_ms"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<CollectiveSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    samples.push_back({table.text(row, 0), CollectiveOp::all_reduce, small(table, row, 1, kRanksMax), 1,
                       bytes_of(table, row, 2), time_of(table, row, 3, 1e3)});
  }
  return samples;
}

std::vector<ExchangeSample> read_deepep_low_latency(const std::filesystem::path& path, const std::string& group) {
  constexpr std::array<std::string_view, 7> columns{"node_num",    "hidden_size",       "num_token",       "num_topk",
                                                    "num_experts", "dispatch_avg_t_us", "combine_avg_t_us"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<ExchangeSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    ExchangeSample sample = exchange_of(table, row, group);
    sample.dispatch = time_of(table, row, 5, 1.0);
    sample.combine = time_of(table, row, 6, 1.0);
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<ExchangeSample> read_deepep_normal(const std::filesystem::path& path, const std::string& group) {
  constexpr std::array<std::string_view, 11> columns{
      "node_num",         "hidden_size",          "num_token",          "num_topk",    "num_experts",
      "dispatch_sms",     "dispatch_transmit_us", "dispatch_notify_us", "combine_sms", "combine_transmit_us",
      "combine_notify_us"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<ExchangeSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    ExchangeSample sample = exchange_of(table, row, group);
    sample.sms = small(table, row, 5, kShapeMax);
    if (small(table, row, 8, kShapeMax) != sample.sms) table.fail(row, 8, "write the same number as for dispatch");
    sample.dispatch = time_of(table, row, 6, 1.0) + from_us(table.number(row, 7, 0.0, kMicrosecondsMax));
    sample.combine = time_of(table, row, 9, 1.0) + from_us(table.number(row, 10, 0.0, kMicrosecondsMax));
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<ExchangeSample> read_deepep_rows(const std::filesystem::path& path) {
  std::vector<ExchangeSample> samples;
  for (JsonObject& row : good_rows(path)) {
    if (row.require("mode").as_string() != "low_latency" || is_null(row, "time_us")) continue;
    ExchangeSample sample;
    sample.group = row.require("library").as_string();
    sample.ranks = small(row, "ep", kRanksMax);
    sample.nodes = small(row, "nodes", kRanksMax);
    sample.hidden = small(row, "hidden", kShapeMax);
    sample.tokens = small(row, "tokens_per_rank", kShapeMax);
    sample.top_k = small(row, "topk", kShapeMax);
    sample.experts = small(row, "experts", kShapeMax);
    const Seconds time = from_us(row.require("time_us").as_number(kMicrosecondsMin, kMicrosecondsMax));
    const JsonReader op = row.require("op");
    if (op.as_string() == "dispatch") {
      sample.dispatch = time;
    } else if (op.as_string() == "combine") {
      sample.combine = time;
    } else {
      op.fail(op.shown(), "write dispatch or combine");
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::vector<MessageSample> read_vidur_send_recv(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 4> columns{"time_stats.send_recv.median", "num_workers", "size",
                                                    "devices_per_node"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<MessageSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    if (small(table, row, 1, kRanksMax) != 2) table.fail(row, 1, "a message has two ends: write 2");
    samples.push_back({small(table, row, 3, kRanksMax) == 1, bytes_of(table, row, 2), time_of(table, row, 0, 1e3)});
  }
  return samples;
}

std::vector<CollectiveSample> read_vidur_all_reduce(const std::filesystem::path& path) {
  constexpr std::array<std::string_view, 3> columns{"time_stats.all_reduce.median", "num_workers", "size"};
  const CsvTable table = CsvTable::from_file(path, columns);
  std::vector<CollectiveSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    samples.push_back({"vidur", CollectiveOp::all_reduce, small(table, row, 1, kGpusPerNode), 1,
                       bytes_of(table, row, 2), time_of(table, row, 0, 1e3)});
  }
  return samples;
}

double read_point(const std::filesystem::path& path, std::string_view metric, std::string_view gpu) {
  std::optional<double> value;
  for (JsonObject& row : good_rows(path)) {
    if (row.require("metric").as_string() != metric || row.require("gpu").as_string() != gpu) continue;
    if (value) row.place().fail(fmt::format("a second \"{}\" of {}", metric, gpu), "keep one row for it");
    value = point_value(row.require("value"));
  }
  if (!value) throw input_error(path.string(), "/rows", fmt::format("no \"{}\" of {}", metric, gpu), "add that row");
  return *value;
}

Bytes dispatch_row_bytes(int hidden) {
  return sim::token_row_bytes(sim::ExchangeOp::dispatch, ExchangeAlgorithm::low_latency, hidden, DType::fp8);
}

Bytes combine_row_bytes(int hidden) {
  return sim::token_row_bytes(sim::ExchangeOp::combine, ExchangeAlgorithm::low_latency, hidden, DType::bf16);
}

}  // namespace foretoken::calibrate
