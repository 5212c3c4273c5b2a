// The logs of other tools that can be imported, and how each is told from the others.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "calibrate/import/imported.hpp"

namespace foretoken::calibrate {

enum class LogFormat : std::uint8_t {
  nccl_tests,
  nccl_tests_json,
  nvbandwidth,
  perftest,
  perftest_json,
  deepep,
  op_table,
  nccl_topology,
  nvidia_smi_topology,
  ibnetdiscover
};

/// As `foretoken import --format` has them.
inline constexpr std::array<std::pair<LogFormat, std::string_view>, 10> kLogFormatNames{
    {{LogFormat::nccl_tests, "nccl-tests"},
     {LogFormat::nccl_tests_json, "nccl-tests-json"},
     {LogFormat::nvbandwidth, "nvbandwidth"},
     {LogFormat::perftest, "perftest"},
     {LogFormat::perftest_json, "perftest-json"},
     {LogFormat::deepep, "deepep"},
     {LogFormat::op_table, "op-table"},
     {LogFormat::nccl_topology, "nccl-topology"},
     {LogFormat::nvidia_smi_topology, "nvidia-smi-topo"},
     {LogFormat::ibnetdiscover, "ibnetdiscover"}}};

constexpr std::string_view name_of(LogFormat format) {
  return kLogFormatNames[static_cast<std::size_t>(format)].second;
}

constexpr bool is_topology(LogFormat format) { return format >= LogFormat::nccl_topology; }
/// What joins nodes, and not what is in one.
constexpr bool is_fabric(LogFormat format) { return format == LogFormat::ibnetdiscover; }

/// By what only this tool writes, wherever in the file that stands.
/// @throws Error{invalid_input} if it is none of them
LogFormat recognise_log(const LogPlace& log);
/// The format of that name; of "" what recognise_log says.
/// @throws Error{invalid_input} also for a name that is not known
LogFormat log_format(const LogPlace& log, std::string_view name);

/// Reads a log of measurements. What the log does not say comes from the settings.
///
/// Preconditions (checked): the format is no topology's.
/// @throws Error{invalid_input} naming file and line (of JSON: file and pointer) for what is damaged, unless
///         `imported` keeps good rows, and for a setting that is missing; also where nothing was measured. Settings
///         that no log wanted are for ImportSettings::finish to refuse, after the last
void import_measurements(LogFormat format, const LogPlace& log, ImportSettings& settings, Imported& imported);

/// @name One importer per tool; see the .cpp of each for what it reads and what it leaves out.
/// @{
void import_nccl_tests(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_nccl_tests_json(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_nvbandwidth(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_perftest(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_perftest_json(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_deepep(const LogPlace& log, ImportSettings& settings, Imported& imported);
void import_op_table(const LogPlace& log, ImportSettings& settings, Imported& imported);
/// @}

}  // namespace foretoken::calibrate
