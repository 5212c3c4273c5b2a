// nvbandwidth -j: copies from one GPU of a node to another, and between GPU and host memory, all others idle.
//
// Copies between GPUs are NVLink's rate, those between host and GPU PCIe's. Left out are copies within a GPU, several
// pairs at once, latencies, several nodes, and bidirectional tests, of which the file keeps three matrices in one
// without saying which is which.
#include <fmt/format.h>

#include <array>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "core/json_reader.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kGbPerSecondMax = 1e6;

// Which link a test is of; nothing if it is of none alone.
std::optional<LinkClass> link_of_test(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, LinkClass>, 8> tests{
      {{"device_to_device_memcpy_read_ce", LinkClass::nvlink},
       {"device_to_device_memcpy_write_ce", LinkClass::nvlink},
       {"device_to_device_memcpy_read_sm", LinkClass::nvlink},
       {"device_to_device_memcpy_write_sm", LinkClass::nvlink},
       {"host_to_device_memcpy_ce", LinkClass::pcie},
       {"device_to_host_memcpy_ce", LinkClass::pcie},
       {"host_to_device_memcpy_sm", LinkClass::pcie},
       {"device_to_host_memcpy_sm", LinkClass::pcie}}};
  for (const auto& [known, link] : tests)
    if (name == known) return link;
  return std::nullopt;
}

// "12.8" of 12080.
std::string cuda_version_text(std::int64_t code) { return fmt::format("{}.{}", code / 1'000, code % 1'000 / 10); }

using Origin = nlohmann::ordered_json;  // members that every row gets

Origin read_origin(JsonObject& root, ImportSettings& settings) {
  Origin origin;
  if (const auto version = root.optional("version")) origin["tool_version"] = version->as_string(true);
  if (const auto driver = root.optional("Driver Version")) origin["driver_version"] = driver->as_string(true);
  if (const auto cuda = root.optional("CUDA Runtime Version"))
    origin["cuda_version"] = cuda_version_text(cuda->as_integer(0, 1'000'000));
  // "0: NVIDIA H100 80GB HBM3 (00000000:18:00.0): (host-a)"
  if (const auto devices = root.optional("GPU Device list");
      devices && devices->is_array() && !devices->json().empty()) {
    const std::string first = devices->as_array(1, 100'000).front().as_string();
    const std::string_view name = after(first, ": ").value_or(first);
    origin["device"] = std::string(trimmed(name.substr(0, name.find(" ("))));
  }
  if (const auto date = settings.text("date")) origin["date"] = *date;
  return origin;
}

// Of GPUs the row is one end and the column the other; of host memory there is one row.
void read_cell(const JsonReader& cell, LinkClass link, const std::string& test, const Origin& origin, bool same_gpu,
               const LogPlace& log, Imported& imported) {
  const std::string text = cell.as_string();
  if (same_gpu) {
    if (text != "N/A") cell.fail(fmt::format("{} from a GPU to itself", cell.shown()), "write \"N/A\"");
    return;
  }
  if (text == "N/A") return imported.leave_out("of pairs that were not measured");
  const std::optional<double> rate = number_in(text);
  if (!rate || !(*rate > 0) || *rate > kGbPerSecondMax)
    cell.fail(fmt::format("{} is no bandwidth in GB/s", cell.shown()), "write a number > 0, as text, or \"N/A\"");
  LinkMeasurement measured;
  measured.link = link;
  measured.test = test;
  measured.rate = BytesPerSecond(*rate * 1e9);
  measured.tool = "nvbandwidth";
  measured.origin = origin;
  measured.origin["source"] = fmt::format("{}#{}", log.name, cell.pointer());
  imported.add(std::move(measured));
}

void read_test(const JsonReader& place, const Origin& origin, const LogPlace& log, Imported& imported) {
  JsonObject test(place);
  const std::string name = test.require("name").as_string();
  const JsonReader status = test.require("status");
  const std::string outcome = status.as_string();
  if (outcome == "Waived") return imported.leave_out("of waived tests");
  if (const auto error = test.optional("error")) error->fail(error->shown(), "the test failed: repeat it");
  if (outcome != "Passed")
    status.fail(fmt::format("{} ended with {}", name, status.shown()), "the test failed: repeat it");
  const std::optional<LinkClass> link = link_of_test(name);
  if (!link) return imported.leave_out(fmt::format("of {}, which is no single link's", quoted_for_message(name)));
  const bool pairs = *link == LinkClass::nvlink;
  constexpr auto gpus_max = static_cast<std::size_t>(plan::kGpusPerNodeMax);
  const JsonReader matrix = test.require("bandwidth_matrix");
  const std::vector<JsonReader> rows = matrix.as_array(1, pairs ? gpus_max : 1);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const std::vector<JsonReader> cells = rows[row].as_array(1, gpus_max);
    if (pairs && cells.size() != rows.size())
      rows[row].fail(fmt::format("{} cells", cells.size()),
                     fmt::format("write one for each of the {} GPUs", rows.size()));
    for (std::size_t column = 0; column < cells.size(); ++column) {
      try {
        read_cell(cells[column], *link, name, origin, pairs && row == column, log, imported);
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
  const Origin origin = read_origin(root, settings);
  if (const auto error = root.optional("error"))
    imported.damaged(error->error(error->shown(), "the run failed: repeat it, or keep what is there with --keep-good"));
  for (const JsonReader& place : root.require("testcases").as_array(0, 10'000)) {
    try {
      read_test(place, origin, log, imported);
    } catch (const Error& error) {
      imported.damaged(error);
    }
  }
}

}  // namespace foretoken::calibrate
