#include "calibrate/import/log_formats.hpp"

#include <fmt/format.h>

#include "calibrate/import/log_text.hpp"

namespace foretoken::calibrate {
namespace {

bool has(std::string_view text, std::string_view what) { return text.find(what) != std::string_view::npos; }

// Of a table that begins with its header: some line before any other names `latency` or DeepEP's times.
bool is_op_table(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    return has(line, ",") && (has(line, "latency") || has(line, "_t_us") || has(line, "_transmit_us"));
  }
  return false;
}

// Blocks, or with -p a line for each port from the first on.
bool is_ibnetdiscover(std::string_view text) {
  if (has(text, "switchguid=0x")) return true;
  const std::string_view first = trimmed(text.substr(0, text.find('\n')));
  return (first.starts_with("SW ") || first.starts_with("CA ")) && has(first, " 0x");
}

}  // namespace

LogFormat recognise_log(const LogPlace& log) {
  const std::string_view text = log.text;
  const std::string_view begin = trimmed(text.substr(0, text.find_first_not_of(" \t\r\n") + 1));
  if (begin.ends_with('<') && has(text, "<system")) return LogFormat::nccl_topology;
  if (begin.ends_with('{')) {
    if (has(text, "\"nvbandwidth\"")) return LogFormat::nvbandwidth;
    if (has(text, "\"test_info\"")) return LogFormat::perftest_json;
    if (has(text, "\"results\"") && has(text, "\"out_of_place\"")) return LogFormat::nccl_tests_json;
  }
  if (is_ibnetdiscover(text)) return LogFormat::ibnetdiscover;
  if (has(text, "algbw") && has(text, "busbw")) return LogFormat::nccl_tests;
  if (has(text, "#bytes") && has(text, "#iterations")) return LogFormat::perftest;
  if (has(text, "] Dispatch bandwidth:") || has(text, "[tuning] Best ") || has(text, " EP: ")) return LogFormat::deepep;
  if (has(text, "GPU0") && has(text, "CPU Affinity")) return LogFormat::nvidia_smi_topology;
  if (is_op_table(text)) return LogFormat::op_table;
  std::string names;
  for (const auto& entry : kLogFormatNames) names += (names.empty() ? "" : ", ") + std::string(entry.second);
  throw input_error(log.name, "", "is no log that is known", fmt::format("say which it is with --format: {}", names));
}

LogFormat log_format(const LogPlace& log, std::string_view name) {
  if (name.empty()) return recognise_log(log);
  for (const auto& [format, known] : kLogFormatNames)
    if (name == known) return format;
  throw input_error(log.name, "", fmt::format("{} is no format that is known", quoted_for_message(name)),
                    "`foretoken import --help` lists them");
}

void import_measurements(LogFormat format, const LogPlace& log, ImportSettings& settings, Imported& imported) {
  FORETOKEN_CHECK(!is_topology(format), "a topology holds no measurements");
  switch (format) {
    case LogFormat::nccl_tests: import_nccl_tests(log, settings, imported); break;
    case LogFormat::nccl_tests_json: import_nccl_tests_json(log, settings, imported); break;
    case LogFormat::nvbandwidth: import_nvbandwidth(log, settings, imported); break;
    case LogFormat::perftest: import_perftest(log, settings, imported); break;
    case LogFormat::perftest_json: import_perftest_json(log, settings, imported); break;
    case LogFormat::deepep: import_deepep(log, settings, imported); break;
    case LogFormat::op_table: import_op_table(log, settings, imported); break;
    case LogFormat::nccl_topology:
    case LogFormat::nvidia_smi_topology:
    case LogFormat::ibnetdiscover: break;
  }
  if (imported.ops().empty() && imported.links().empty() && imported.damage().empty() && imported.left_out().empty())
    throw input_error(log.name, "", fmt::format("{} measured nothing here", name_of(format)),
                      "was the run ended before its first result?");
}

}  // namespace foretoken::calibrate
