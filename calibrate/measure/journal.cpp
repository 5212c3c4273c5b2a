#include "calibrate/measure/journal.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.hpp"
#include "core/json_reader.hpp"

namespace foretoken::calibrate {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kKind = "host-measurement-journal";
constexpr std::string_view kDate = "date";
constexpr std::size_t kSamplesMax = 1'000'000;
constexpr double kSecondsMax = 1e9;

constexpr const char* kHowToGoOn = "finish it there, name another --out, or remove the file to begin anew";

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json header_of(const MeasurementIdentity& identity) {
  return {{"kind", kKind},
          {"schema_version", 1},
          {"foretoken", identity.version},
          {"host", identity.machine.host},
          {"cpu", identity.machine.cpu},
          {"cores", identity.cores},
          {"kernel", identity.machine.kernel},
          {"blas", identity.machine.blas},
          {"ranks", identity.ranks},
          {"seed", identity.seed},
          {"scenarios", identity.scenarios}};
}

// Both without their dates.
Error of_another(const std::filesystem::path& file, const Json& there, const Json& here) {
  for (const auto& [key, value] : here.items()) {
    const Json other = there.value(key, Json());
    if (other != value)
      return input_error(
          file.string(), "/" + key,
          fmt::format("an unfinished measurement with {}, and this would be one with {}", dumped(other), dumped(value)),
          kHowToGoOn);
  }
  return input_error(file.string(), "", "an unfinished measurement of another kind", kHowToGoOn);
}

std::string text_if_any(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::string line_of(const MeasuredPart& part) {
  Json json{{"part", part.name}, {"seconds", part.took.value()}, {"core_mhz", part.core_mhz}};
  if (part.per_byte) {
    json["seconds_per_byte"] = part.per_byte->value();
  } else {
    std::vector<std::string> rows = whole_lines(samples_csv(part.samples));
    rows.erase(rows.begin());  // the names of the columns
    json["samples"] = std::move(rows);
  }
  return dumped(json);
}

MeasuredPart part_of(std::string_view line, const std::string& place) {
  const JsonDocument document = JsonDocument::from_text(line, place);
  JsonObject object(document.root());
  MeasuredPart part;
  part.name = object.require("part").as_string();
  part.took = Seconds(object.require("seconds").as_number(0, kSecondsMax));
  part.core_mhz = object.require("core_mhz").as_number(0, 1e6);
  if (const auto per_byte = object.optional("seconds_per_byte")) {
    part.per_byte = Seconds(per_byte->as_number(0, 1));
  } else {
    std::string rows = samples_csv({});
    for (const JsonReader& row : object.require("samples").as_array(0, kSamplesMax)) rows += row.as_string() + "\n";
    part.samples = parse_samples(rows, place);
  }
  object.finish();
  return part;
}

MeasurementJournal::MeasurementJournal(const std::filesystem::path& file, const MeasurementIdentity& identity,
                                       const std::string& date, bool leads)
    : date_(date) {
  Json header = header_of(identity);
  if (!leads) {
    read(file, whole_lines(text_if_any(file)), dumped(header));
    return;
  }
  file_.emplace(file);
  read(file, file_->lines(), dumped(header));
  if (!file_->lines().empty()) return;
  // Nothing, or what a kill left of our own first line.
  const std::string ours = dumped({{"kind", kKind}});
  const std::string begin = ours.substr(0, ours.size() - 1);
  if (!begin.starts_with(file_->torn()) && !file_->torn().starts_with(begin))
    throw input_error(file.string(), "", "is no journal of a measurement", "name another --out, or remove the file");
  header[std::string(kDate)] = date_;
  file_->append(dumped(header));
}

void MeasurementJournal::read(const std::filesystem::path& file, const std::vector<std::string>& lines,
                              const std::string& header) {
  if (lines.empty()) return;
  Json there = Json::parse(lines.front(), nullptr, false);
  if (!there.is_object() || there.value("kind", Json()) != kKind ||
      !there.value(std::string(kDate), Json()).is_string())
    throw input_error(file.string(), "", "is no journal of a measurement", "name another --out, or remove the file");
  date_ = there.at(std::string(kDate)).get<std::string>();
  there.erase(std::string(kDate));
  if (dumped(there) != header) throw of_another(file, there, Json::parse(header));
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::string place = fmt::format("{}:{}", file.string(), i + 1);
    try {
      MeasuredPart part = part_of(lines[i], place);
      known_.emplace(part.name, std::move(part));
    } catch (const Error& error) {
      throw input_error(place, "", fmt::format("is damaged: {}", error.what()),
                        "take the line away, and its part is measured again");
    }
  }
}

void MeasurementJournal::add(const MeasuredPart& part) {
  if (file_) file_->append(line_of(part));
}

}  // namespace foretoken::calibrate
