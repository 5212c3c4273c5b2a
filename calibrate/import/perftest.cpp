// perftest (ib_write_bw, ib_send_lat, ...) between two hosts: what a NIC and the fabric carry, one message after the
// other.
//
// Latencies are one way, as the tool halves them; of reads they are not, because the request goes the other way first,
// so those are left out. Bandwidth tests keep many messages under way; what is shorter than 1 MiB is bound by messages
// per second and left out. A bidirectional test adds up both directions. Atomics move nothing and are left out.
#include <fmt/format.h>

#include <algorithm>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "core/json_reader.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::int64_t kPipelinedBytesMin = std::int64_t{1} << 20;
constexpr std::int64_t kBytesMax = std::int64_t{1} << 50;
constexpr double kBytesPerSecondMax = 1e15;

struct Test {
  std::string title;  // "RDMA_Write Bidirectional BW Test"
  std::string verb;   // "RDMA_Write"
  bool latency = false;
  bool bidirectional = false;
  std::string device;
  std::string date;
};

// From the title; nothing if it is none.
std::optional<Test> test_named(std::string_view title) {
  const auto words = words_of(title);
  if (words.size() < 3 || words.back() != "Test") return std::nullopt;
  Test test;
  test.title = std::string(trimmed(title));
  test.verb = std::string(words.front());
  const auto has = [&](std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  test.latency = has("Latency");
  test.bidirectional = has("Bidirectional");
  if (!test.latency && !has("BW")) return std::nullopt;
  return test;
}

/// Bytes per second of one unit; nothing if it is not known. Old versions print MB/sec and mean MiB.
std::optional<double> rate_unit(std::string_view unit) {
  if (unit == "MiB/sec" || unit == "MB/sec") return 1048576.0;
  if (unit == "Gb/sec") return 1e9 / 8;
  return std::nullopt;
}

LinkMeasurement measurement(const Test& test, std::int64_t bytes, const std::string& at) {
  LinkMeasurement measured;
  measured.link = LinkClass::infiniband;
  measured.test = test.title;
  measured.bytes = Bytes(bytes);
  measured.tool = "perftest";
  if (!test.device.empty()) measured.origin["device"] = test.device;
  if (!test.date.empty()) measured.origin["date"] = test.date;
  measured.origin["source"] = at;
  return measured;
}

void add_latency(const Test& test, std::int64_t bytes, double time_us, const std::string& at, Imported& imported) {
  if (!(time_us > 0) || time_us > kMicrosecondsMax)
    throw input_error(at, "", fmt::format("a latency of {} us", time_us), "write one > 0");
  if (test.verb.ends_with("Read")) return imported.leave_out("of reads' latency, which is of both ways");
  LinkMeasurement measured = measurement(test, bytes, at);
  measured.latency = Seconds(time_us * 1e-6);
  imported.add(std::move(measured));
}

void add_bandwidth(const Test& test, std::int64_t bytes, double rate, const std::string& at, Imported& imported) {
  if (!(rate > 0) || rate > kBytesPerSecondMax)
    throw input_error(at, "", fmt::format("a bandwidth of {} B/s", rate), "write one > 0");
  if (bytes < kPipelinedBytesMin)
    return imported.leave_out("of bandwidth below 1 MiB, which messages per second bound");
  LinkMeasurement measured = measurement(test, bytes, at);
  measured.rate = BytesPerSecond(test.bidirectional ? rate / 2 : rate);
  imported.add(std::move(measured));
}

class PerftestReader {
 public:
  PerftestReader(const LogPlace& log, ImportSettings& settings, Imported& imported)
      : log_(log), imported_(imported), date_(settings.text("date").value_or("")) {}

  void read() {
    const LogText text(log_.text);
    for (const LogLine& line : text.lines()) {
      try {
        read_line(line);
      } catch (const Error& error) {
        imported_.damaged(error);
      }
    }
    if (in_table_)
      imported_.damaged(log_.error(text.lines().back().number, "the log ends within the table",
                                   "was the run killed? repeat it, or keep what is there with --keep-good"));
  }

 private:
  struct Column {
    std::string name;  // "BW average"
    std::string unit;  // "MiB/sec"
  };

  void read_line(const LogLine& line) {
    const std::string_view text = trimmed(line.text);
    if (text.starts_with("----")) {
      in_table_ = false;
      return;
    }
    if (auto test = test_named(text)) {
      test_ = std::move(test);
      return;
    }
    if (const auto device = after(text, "Device         :"); device && test_) {
      const auto words = words_of(*device);
      if (!words.empty()) test_->device = std::string(words.front());
      return;
    }
    if (text.starts_with("#bytes")) return read_header(line, text);
    if (!in_table_ || text.empty()) return;
    // A warning that the tool prints between rows.
    if (text.starts_with("Conflicting CPU frequency")) return;
    read_row(line, text);
  }

  void read_header(const LogLine& line, std::string_view text) {
    if (!test_)
      throw log_.error(line.number, "no line above names the test", "keep the log whole: \"RDMA_Write BW Test\"");
    test_->date = date_;
    read_columns(text);
    in_table_ = true;
    rate_unit_ = 0;
    value_ = column(test_->latency ? "t_typical" : "BW average");
    if (!value_ && test_->latency) value_ = column("t_avg");
    if (!value_) {
      in_table_ = false;
      throw log_.error(
          line.number,
          fmt::format("the header has no {} of \"{}\"", test_->latency ? "t_typical" : "BW average", test_->title),
          "keep the header as perftest printed it");
    }
    if (test_->latency) return;
    const auto unit = rate_unit(columns_[*value_].unit);
    if (!unit) {
      in_table_ = false;
      throw log_.error(line.number, fmt::format("bandwidth in {}", quoted_for_message(columns_[*value_].unit)),
                       "MiB/sec and Gb/sec are known");
    }
    rate_unit_ = *unit;
  }

  // "#bytes #iterations    BW peak[MiB/sec]    BW average[MiB/sec]": a name is one word with '#', or ends with its
  // unit.
  void read_columns(std::string_view header) {
    columns_.clear();
    std::string name;
    const auto end_column = [&](std::string_view unit) {
      if (!name.empty()) columns_.push_back({name, std::string(unit)});
      name.clear();
    };
    for (const std::string_view word : words_of(header)) {
      const std::size_t bracket = word.find('[');
      name += (name.empty() ? "" : " ") + std::string(word.substr(0, bracket));
      if (bracket != std::string_view::npos) end_column(word.substr(bracket + 1, word.find(']') - bracket - 1));
      else if (word.starts_with('#')) end_column("");
    }
    end_column("");
  }

  [[nodiscard]] std::optional<std::size_t> column(std::string_view name) const {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].name == name) return i;
    return std::nullopt;
  }

  void read_row(const LogLine& line, std::string_view text) {
    const auto words = words_of(text);
    const auto bytes = words.empty() ? std::nullopt : whole_number_in(words.front());
    if (!bytes || *bytes < 1 || *bytes > kBytesMax)
      throw log_.error(line.number, fmt::format("{} is no row of the table", quoted_for_message(text)),
                       "did the run fail there?");
    if (words.size() != columns_.size())
      throw log_.error(line.number, fmt::format("{} columns", words.size()),
                       fmt::format("the header has {}", columns_.size()));
    for (const std::string_view word : words)
      if (!number_in(word))
        throw log_.error(line.number, fmt::format("{} is no number", quoted_for_message(word)), "was the line cut?");
    const double value = *number_in(words[*value_]);
    if (test_->verb == "Atomic") return imported_.leave_out("of atomics, which move nothing");
    if (test_->latency) add_latency(*test_, *bytes, value, log_.at(line.number), imported_);
    else add_bandwidth(*test_, *bytes, value * rate_unit_, log_.at(line.number), imported_);
  }

  const LogPlace& log_;
  Imported& imported_;
  std::string date_;
  std::optional<Test> test_;
  std::vector<Column> columns_;
  std::optional<std::size_t> value_;
  double rate_unit_ = 0;
  bool in_table_ = false;
};

}  // namespace

void import_perftest(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  PerftestReader(log, settings, imported).read();
}

// One result: the tool overwrites the file for every size. It has no unit of bandwidth, so the user says it.
void import_perftest_json(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  const JsonDocument document = JsonDocument::from_text(log.text, log.name);
  JsonObject root(document.root());
  const std::string date = settings.text("date").value_or("");
  JsonObject info(root.require("test_info"));
  const JsonReader title = info.require("test");
  std::string name = title.as_string();
  // "RDMA_Write_BW_Test": the verb may have a '_' of its own.
  for (const std::string_view word : {"_Bidirectional", "_Post_List", "_BW", "_Latency", "_Test"})
    if (const std::size_t found = name.rfind(word); found != std::string::npos) name[found] = ' ';
  std::optional<Test> test = test_named(name);
  if (!test) title.fail(fmt::format("{} names no test", title.shown()), "write for example \"RDMA_Write_BW_Test\"");
  test->date = date;
  if (const auto device = info.optional("Device")) test->device = device->as_string(true);
  JsonObject results(root.require("results"));
  const std::int64_t bytes = results.require("MsgSize").as_integer(1, kBytesMax);
  const std::string at = log.name + "#/results";
  if (test->verb == "Atomic") return imported.leave_out("of atomics, which move nothing");
  if (test->latency) {
    const JsonReader time = results.has("t_typical") ? results.require("t_typical") : results.require("t_avg");
    return add_latency(*test, bytes, time.as_number(0, kMicrosecondsMax), at, imported);
  }
  const std::string unit = settings.require_text("unit", log.name, "Gb/sec (--report_gbits) or unit=MiB/sec");
  const std::optional<double> scale = rate_unit(unit);
  if (!scale) throw input_error("--set unit=" + unit, "", "is not known", "write Gb/sec or MiB/sec");
  add_bandwidth(*test, bytes, results.require("BW_average").as_number(0, kBytesPerSecondMax) * *scale, at, imported);
}

}  // namespace foretoken::calibrate
