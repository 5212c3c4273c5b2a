// foretoken import: logs of other tools as lines of measured ops, for `foretoken score` and `foretoken predict`, and as
// links of a calibration.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>

#include "calibrate/import/log_formats.hpp"
#include "core/quantity_text.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;
using calibrate::Imported;
using calibrate::ImportSettings;
using calibrate::LogFormat;
using calibrate::LogPlace;

constexpr std::size_t kLogBytesMax = std::size_t{256} << 20;

struct ImportedFile {
  std::string name;
  LogFormat format;
  Imported imported;
};

ImportedFile import_file(const std::filesystem::path& file, const ImportOptions& options, ImportSettings& settings) {
  const std::string text = read_log(file);
  const LogPlace log{text, file == "-" ? "stdin" : file.string()};
  const LogFormat format = calibrate::log_format(log, options.format);
  if (calibrate::is_topology(format))
    throw input_error(log.name, "", "describes a machine and measures nothing", "use `foretoken topology import`");
  ImportedFile result{log.name, format, Imported(options.keep_good)};
  calibrate::import_measurements(format, log, settings, result.imported);
  return result;
}

std::string jsonl(const std::vector<ImportedFile>& files) {
  std::string text;
  for (const ImportedFile& file : files)
    for (const Json& op : file.imported.ops()) text += op.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return text;
}

std::vector<calibrate::LinkMeasurement> links_of(const std::vector<ImportedFile>& files) {
  std::vector<calibrate::LinkMeasurement> links;
  for (const ImportedFile& file : files)
    links.insert(links.end(), file.imported.links().begin(), file.imported.links().end());
  return links;
}

Json link_json(const calibrate::LinkMeasurement& link) {
  Json json{{"link", name_of(link.link)}, {"test", link.test}};
  if (link.bytes > Bytes(0)) json["bytes"] = link.bytes.value();
  if (link.rate) json["bytes_per_second"] = link.rate->value();
  if (link.latency) json["latency_us"] = link.latency->value() * 1e6;
  json["tool"] = link.tool;
  json.update(link.origin);
  return json;
}

Json report_json(const std::vector<ImportedFile>& files) {
  Json json{{"schema_version", 1}, {"files", Json::array()}, {"ops", Json::array()}, {"links", Json::array()}};
  for (const ImportedFile& file : files) {
    const Imported& imported = file.imported;
    Json left_out = Json::object();
    for (const auto& [why, rows] : imported.left_out()) left_out[why] = rows;
    json["files"].push_back({{"file", file.name},
                             {"format", name_of(file.format)},
                             {"ops", imported.ops().size()},
                             {"left_out", std::move(left_out)},
                             {"damage", imported.damage()},
                             {"notes", imported.notes()}});
    for (const Json& op : imported.ops()) json["ops"].push_back(op);
    for (const calibrate::LinkMeasurement& link : imported.links()) json["links"].push_back(link_json(link));
  }
  return json;
}

std::string counted(std::int64_t count, const char* what) {
  return fmt::format("{} {}{}", grouped(static_cast<double>(count)), what, count == 1 ? "" : "s");
}

void tell(const calibrate::LinkSummary& link, std::ostream& err) {
  const auto shown = [&](double value) {
    return link.is_latency ? to_text(Seconds(value)) : to_text(BytesPerSecond(value));
  };
  err << fmt::format("  {}: {} one way, {} ({} to {}, {})\n", name_of(link.link), shown(link.median), link.test,
                     shown(link.least), shown(link.most), counted(link.rows, "row"));
}

// What became of each file; at most a screen of it.
void tell(const std::vector<ImportedFile>& files, std::ostream& err) {
  constexpr std::size_t told_max = 10;
  for (const ImportedFile& file : files) {
    const Imported& imported = file.imported;
    err << fmt::format("foretoken: {}: {}, {}\n", file.name, name_of(file.format),
                       counted(static_cast<std::int64_t>(imported.ops().size()), "op"));
    for (const calibrate::LinkSummary& link : calibrate::summarise(imported.links())) tell(link, err);
    for (const auto& [why, rows] : imported.left_out())
      err << fmt::format("  left out: {} {}\n", counted(rows, "row"), why);
    for (const std::string& note : imported.notes()) err << "  note: " << note << "\n";
    const std::vector<std::string>& damage = imported.damage();
    for (std::size_t i = 0; i < std::min(damage.size(), told_max); ++i) err << "  damaged: " << damage[i] << "\n";
    if (damage.size() > told_max) err << fmt::format("  damaged: {} more\n", damage.size() - told_max);
  }
}

std::string calibration_with_links(const ImportOptions& options, const std::vector<ImportedFile>& files,
                                   ImportSettings& settings) {
  constexpr const char* usual = "topologies/calibrations/h100-sxm.json";
  const Calibration base = read_calibration(options.calibration.empty() ? shipped_file(usual) : options.calibration);
  if (base.host)
    throw input_error(base.file, "", "is of CPUs, which have no such links",
                      "name the calibration of a GPU with --calibration");
  return calibration_text(calibrate::with_links(base, links_of(files), settings));
}

}  // namespace

std::string read_log(const std::filesystem::path& file) {
  constexpr const char* mend = "name a log that another tool has written";
  std::error_code status;
  if (std::filesystem::is_directory(file, status)) throw input_error(file.string(), "", "is a folder", mend);
  std::ifstream opened;
  if (file != "-") {
    opened.open(file, std::ios::binary);
    if (!opened) throw input_error(file.string(), "", "cannot be read", mend);
  }
  std::istream& in = file == "-" ? std::cin : opened;
  std::string text;
  std::string block(std::size_t{1} << 16, '\0');
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
    text.append(block, 0, static_cast<std::size_t>(in.gcount()));
    if (text.size() > kLogBytesMax) throw input_error(file.string(), "", "is larger than 256 MiB", "split the log");
  }
  return text;
}

void run_import(const ImportOptions& options, std::ostream& out, std::ostream& err) {
  for (const auto& [option, target] : {std::pair{"--out", options.out}, std::pair{"--links", options.links}}) {
    if (target.empty()) continue;
    for (const std::filesystem::path& file : options.files) refuse_to_replace(target, file, option);
    require_writable(target);
  }
  if (options.links.empty() && !options.calibration.empty())
    throw input_error("--calibration", "", "there is nothing to change in it", "add --links FILE, which is written");
  ImportSettings settings(options.settings);
  std::vector<ImportedFile> files;
  for (const std::filesystem::path& file : options.files) files.push_back(import_file(file, options, settings));
  std::optional<std::string> calibration;
  if (!options.links.empty()) calibration = calibration_with_links(options, files, settings);
  settings.finish();
  const std::string lines = jsonl(files);
  if (!options.out.empty()) write_file(options.out, lines);
  if (calibration) write_file(options.links, *calibration);
  if (options.json) {
    out << report_json(files).dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  tell(files, err);
  if (options.out.empty()) out << lines;
}

}  // namespace foretoken::cli
