#include "calibrate/import/nccl_tests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "calibrate/import/log_text.hpp"

namespace foretoken::calibrate {
namespace {

// Columns are printed with two decimals, or four digits.
bool agree(double a, double b) { return std::abs(a - b) <= 0.02 * std::max(a, b) + 0.011; }

double bus_factor(std::string_view op, std::int64_t ranks) {
  const auto n = static_cast<double>(ranks);
  if (op == "all_reduce") return 2 * (n - 1) / n;
  if (op == "send_recv") return 1;
  return (n - 1) / n;
}

// What is wrong with the row; "" if nothing.
std::string complaint(const NcclRun& run, const NcclRow& row) {
  if (row.wrong.value_or(0) > 0) return fmt::format("{:.0f} values came out wrong", *row.wrong);
  if (!(row.time_us > 0) || row.time_us > kMicrosecondsMax) return fmt::format("a time of {} us", row.time_us);
  const double rate = static_cast<double>(row.bytes) / row.time_us / 1e3;
  if (!agree(rate, row.algorithm_gb_per_s))
    return fmt::format("algbw is {} GB/s, but {} bytes in {} us are {:.2f}", row.algorithm_gb_per_s, row.bytes,
                       row.time_us, rate);
  const double bus = row.algorithm_gb_per_s * bus_factor(run.op, run.ranks);
  if (run.ranks > 1 && !agree(bus, row.bus_gb_per_s))
    return fmt::format("busbw is {} GB/s, but of {} among {} ranks it would be {:.2f}", row.bus_gb_per_s, run.op,
                       run.ranks, bus);
  return "";
}

}  // namespace

std::string nccl_version_text(std::int64_t code) {
  if (code >= 10'000) return fmt::format("{}.{}.{}", code / 10'000, code / 100 % 100, code % 100);
  return fmt::format("{}.{}.{}", code / 1'000, code / 100 % 10, code % 100);
}

std::string uneven_hosts(const std::map<std::string, std::int64_t>& ranks_on) {
  const auto by_ranks = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto [least, most] = std::minmax_element(ranks_on.begin(), ranks_on.end(), by_ranks);
  if (least == ranks_on.end() || least->second == most->second) return "";
  std::int64_t ranks = 0;
  for (const auto& [host, count] : ranks_on) ranks += count;
  return fmt::format("{} ranks are spread unevenly over {} hosts: {} on {}, {} on {}", ranks, ranks_on.size(),
                     most->second, quoted_for_message(most->first), least->second, quoted_for_message(least->first));
}

void add_nccl_row(const NcclRun& run, const NcclRow& row, const std::string& at, Imported& imported) {
  if (run.op.empty()) return imported.leave_out(fmt::format("{}, which foretoken does not predict", run.program));
  if (row.bytes == 0) return imported.leave_out("of no bytes");
  const std::optional<DType> dtype = dtype_named(row.type);
  if (!dtype) return imported.leave_out(fmt::format("of type {}, which foretoken does not model", row.type));
  const std::string wrong = complaint(run, row);
  if (!wrong.empty()) {
    imported.damaged(input_error(at, "", wrong, "leave the row out, or repeat the run"));
    return;
  }
  nlohmann::ordered_json op{{"op", run.op},       {"dtype", name_of(*dtype)}, {"ranks", run.ranks},
                            {"nodes", run.nodes}, {"bytes", row.bytes},       {"measured_us", row.time_us}};
  if (row.in_place_us) op["in_place_us"] = *row.in_place_us;
  if (row.worst_rank_us) op["slowest_iteration_us"] = *row.worst_rank_us;
  op["tool"] = "nccl-tests";
  if (!run.tests_version.empty()) op["tool_version"] = run.tests_version;
  if (!run.nccl_version.empty()) op["nccl_version"] = run.nccl_version;
  if (!run.device.empty()) op["device"] = run.device;
  if (!run.date.empty()) op["date"] = run.date;
  op["source"] = at;
  imported.add(std::move(op));
}

}  // namespace foretoken::calibrate
