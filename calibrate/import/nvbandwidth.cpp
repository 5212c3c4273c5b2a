// nvbandwidth -j: copies from one GPU of a node to another, all others idle, become a message between two ranks.
//
// Only the unidirectional device-to-device tests have an op that predicts them. The others are left out: host memory,
// copies within a GPU, several pairs at once, latencies, several nodes. So are bidirectional ones, of which the file
// keeps three matrices in one without saying which is which.
#include <fmt/format.h>

#include <array>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "core/json_reader.hpp"
#include "core/quantity_text.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kGbPerSecondMax = 1e6;
constexpr std::int64_t kDefaultBytes = std::int64_t{512} << 20;  // nvbandwidth's --bufferSize, in MiB

constexpr std::array<std::string_view, 4> kPairTests{
    "device_to_device_memcpy_read_ce", "device_to_device_memcpy_write_ce", "device_to_device_memcpy_read_sm",
    "device_to_device_memcpy_write_sm"};

bool is_pair_test(std::string_view name) {
  for (const std::string_view known : kPairTests)
    if (name == known) return true;
  return false;
}

// "12.8" of 12080.
std::string cuda_version_text(std::int64_t code) { return fmt::format("{}.{}", code / 1'000, code % 1'000 / 10); }

struct Run {
  std::int64_t bytes = 0;
  nlohmann::ordered_json origin;  // members that every line gets
};

// The file has the bandwidth alone; the time is that of the buffer's size.
std::int64_t buffer_bytes(ImportSettings& settings, Imported& imported) {
  const std::optional<std::string> text = settings.text("bytes");
  if (!text) {
    imported.note(
        "the file does not say how large the copied buffer was: nvbandwidth's default of 512 MiB is taken; "
        "with --bufferSize, say --set bytes='64 MiB'");
    return kDefaultBytes;
  }
  const std::optional<Bytes> bytes = parse_bytes(*text);
  if (!bytes || bytes->value() < 1 || bytes->value() > std::int64_t{1} << 50)
    throw input_error("--set bytes=" + *text, "", "is no size", "write for example '64 MiB'");
  return bytes->value();
}

Run read_run(JsonObject& root, ImportSettings& settings, Imported& imported) {
  Run run;
  run.bytes = buffer_bytes(settings, imported);
  run.origin["tool"] = "nvbandwidth";
  if (const auto version = root.optional("version")) run.origin["tool_version"] = version->as_string(true);
  if (const auto driver = root.optional("Driver Version")) run.origin["driver_version"] = driver->as_string(true);
  if (const auto cuda = root.optional("CUDA Runtime Version"))
    run.origin["cuda_version"] = cuda_version_text(cuda->as_integer(0, 1'000'000));
  // "0: NVIDIA H100 80GB HBM3 (00000000:18:00.0): (host-a)"
  if (const auto devices = root.optional("GPU Device list");
      devices && devices->is_array() && !devices->json().empty()) {
    const std::string first = devices->as_array(1, 100'000).front().as_string();
    const std::string_view name = after(first, ": ").value_or(first);
    run.origin["device"] = std::string(trimmed(name.substr(0, name.find(" ("))));
  }
  if (const auto date = settings.text("date")) run.origin["date"] = *date;
  return run;
}

void read_cell(const JsonReader& cell, const Run& run, const std::string& test, std::size_t row, std::size_t column,
               const LogPlace& log, Imported& imported) {
  const std::string text = cell.as_string();
  if (row == column) {
    if (text != "N/A") cell.fail(fmt::format("{} from a GPU to itself", cell.shown()), "write \"N/A\"");
    return;
  }
  if (text == "N/A") return imported.leave_out("of pairs that were not measured");
  const std::optional<double> rate = number_in(text);
  if (!rate || !(*rate > 0) || *rate > kGbPerSecondMax)
    cell.fail(fmt::format("{} is no bandwidth in GB/s", cell.shown()), "write a number > 0, as text, or \"N/A\"");
  nlohmann::ordered_json op{{"op", "send_recv"}, {"ranks", 2}, {"nodes", 1}, {"bytes", run.bytes}};
  op["measured_us"] = static_cast<double>(run.bytes) / (*rate * 1e3);
  op["test"] = test;
  // "GPU(row) -> GPU(column)" of writes, "<-" of reads.
  const bool write = test.find("write") != std::string::npos;
  op["from"] = write ? row : column;
  op["to"] = write ? column : row;
  op.update(run.origin);
  op["source"] = fmt::format("{}#{}", log.name, cell.pointer());
  imported.add(std::move(op));
}

void read_test(const JsonReader& place, const Run& run, const LogPlace& log, Imported& imported) {
  JsonObject test(place);
  const std::string name = test.require("name").as_string();
  const JsonReader status = test.require("status");
  const std::string outcome = status.as_string();
  if (outcome == "Waived") return imported.leave_out("of waived tests");
  if (const auto error = test.optional("error")) error->fail(error->shown(), "the test failed: repeat it");
  if (outcome != "Passed")
    status.fail(fmt::format("{} ended with {}", name, status.shown()), "the test failed: repeat it");
  if (!is_pair_test(name)) return imported.leave_out(fmt::format("of {}, which no op predicts", name));
  constexpr auto gpus_max = static_cast<std::size_t>(plan::kGpusPerNodeMax);
  const JsonReader matrix = test.require("bandwidth_matrix");
  const std::vector<JsonReader> rows = matrix.as_array(1, gpus_max);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::vector<JsonReader> cells = rows[row].as_array(1, gpus_max);
    if (cells.size() != rows.size())
      rows[row].fail(fmt::format("{} cells", cells.size()),
                     fmt::format("write one for each of the {} GPUs", rows.size()));
    for (std::size_t column = 0; column < cells.size(); ++column) {
      try {
        read_cell(cells[column], run, name, row, column, log, imported);
      } catch (const Error& error) {
        imported.damaged(error);
      }
    }
  }
}

}  // namespace

void import_nvbandwidth(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  const JsonDocument document = JsonDocument::from_text(log.text, log.name);
  JsonObject outer(document.root());
  JsonObject root(outer.require("nvbandwidth"));
  const Run run = read_run(root, settings, imported);
  if (const auto error = root.optional("error"))
    imported.damaged(error->error(error->shown(), "the run failed: repeat it, or keep what is there with --keep-good"));
  for (const JsonReader& place : root.require("testcases").as_array(0, 10'000)) {
    try {
      read_test(place, run, log, imported);
    } catch (const Error& error) {
      imported.damaged(error);
    }
  }
}

}  // namespace foretoken::calibrate
