#include "tools/collective/flow_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "calibrate/import/csv_table.hpp"

namespace foretoken::collective {
namespace {

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kStartMaxUs = 1e12;
constexpr std::int64_t kBytesMax = std::int64_t{1} << 50;

double makespan_us(const FlowReport& report) { return report.times.completion.last() * kMicrosecondsPerSecond; }

}  // namespace

std::vector<sim::RequestedFlow> read_flows(const std::filesystem::path& file, std::int32_t ranks) {
  constexpr std::array<std::string_view, 4> columns{"source", "destination", "bytes", "start_us"};
  const auto table = calibrate::CsvTable::from_file(file, columns);
  std::vector<sim::RequestedFlow> flows;
  flows.reserve(table.size());
  for (std::size_t row = 0; row < table.size(); ++row)
    flows.push_back({RankId(static_cast<std::int32_t>(table.integer(row, 0, 0, ranks - 1))),
                     RankId(static_cast<std::int32_t>(table.integer(row, 1, 0, ranks - 1))),
                     Bytes(table.integer(row, 2, 0, kBytesMax)),
                     Seconds(table.number(row, 3, 0, kStartMaxUs) / kMicrosecondsPerSecond)});
  return flows;
}

std::string flows_text(const FlowReport& report) {
  std::string text =
      fmt::format("# {} flows among {} ranks of {}, calibration {}{}\n", report.flows.size(), report.ranks,
                  report.machine, report.calibration, report.zero_latency ? ", no latency" : "");
  text += fmt::format("# the last ends at {:.9g} us; {} classes", makespan_us(report), report.times.classes);
  if (report.accuracy > 0)
    text += fmt::format(", accuracy {:g}, error made {:.2g}", report.accuracy, report.times.error);
  text += "\nsource,destination,bytes,start_us,completion_us\n";
  for (std::size_t i = 0; i < report.flows.size(); ++i) {
    const sim::RequestedFlow& flow = report.flows[i];
    text +=
        fmt::format("{},{},{},{:.15g},{:.15g}\n", flow.from.value(), flow.to.value(), flow.bytes.value(),
                    flow.start.value() * kMicrosecondsPerSecond, report.times.completion[i] * kMicrosecondsPerSecond);
  }
  return text;
}

nlohmann::ordered_json flows_json(const FlowReport& report) {
  nlohmann::ordered_json flows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < report.flows.size(); ++i) {
    const sim::RequestedFlow& flow = report.flows[i];
    flows.push_back({{"source", flow.from.value()},
                     {"destination", flow.to.value()},
                     {"bytes", flow.bytes.value()},
                     {"start_us", flow.start.value() * kMicrosecondsPerSecond},
                     {"completion_us", report.times.completion[i] * kMicrosecondsPerSecond}});
  }
  return {{"schema_version", 1},
          {"kind", "flows"},
          {"machine", report.machine},
          {"calibration", report.calibration},
          {"ranks", report.ranks},
          {"zero_latency", report.zero_latency},
          {"accuracy", report.accuracy},
          {"error", report.times.error},
          {"classes", report.times.classes},
          {"makespan_us", makespan_us(report)},
          {"flows", std::move(flows)}};
}

}  // namespace foretoken::collective
