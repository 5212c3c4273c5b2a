// What text and JSON of nccl-tests have in common: who took part, and one row of the table.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/import/imported.hpp"

namespace foretoken::calibrate {

/// One run: a program on some GPUs, over several sizes.
struct NcclRun {
  std::string_view op;  // as foretoken calls it; "" if it predicts no such
  std::string program;  // "broadcast_perf"
  std::string tests_version;
  std::string nccl_version;  // "2.28.3"
  std::string date;
  std::string device;
  std::int64_t ranks = 0;
  std::int64_t nodes = 0;
};

/// As the table has it.
struct NcclRow {
  std::int64_t bytes = 0;
  std::string type;
  double time_us = 0;  // out of place
  double algorithm_gb_per_s = 0;
  double bus_gb_per_s = 0;
  std::optional<double> wrong;  // elements; nothing if not checked
  std::optional<double> in_place_us;
  std::optional<double> worst_rank_us;  // the longest of its iterations, where they are kept
};

/// "2.28.3" of 22803, and "2.7.8" of 2708: NCCL_VERSION_CODE, of which the weights grew with 2.9.
std::string nccl_version_text(std::int64_t code);

/// "8 ranks are spread unevenly over 2 hosts: 7 on "a", 1 on "b""; "" if hosts have as many ranks each.
/// @param ranks_on  by host
std::string uneven_hosts(const std::map<std::string, std::int64_t>& ranks_on);

/// Adds the row, or leaves it out: of no bytes, of an operation or a type that foretoken does not predict.
///
/// A row is damaged if values came out wrong, and if its own columns disagree: algbw = bytes / time, and busbw = algbw
/// x 2 (n-1)/n of an all-reduce, x (n-1)/n of all-gather, reduce-scatter and all-to-all, x 1 of send and receive. So a
/// wrong `op` or a wrong number of ranks is noticed. Means over all ranks and iterations, as the table has them, are
/// what is handed on; busbw is not: with NVLink SHARP it is no rate of any wire.
///
/// @param at    "log.txt:12", or "log.json#/results/3"
/// @throws Error{invalid_input} as Imported::damaged
void add_nccl_row(const NcclRun& run, const NcclRow& row, const std::string& at, Imported& imported);

}  // namespace foretoken::calibrate
