// nccl-tests as it prints: lines that begin with '#' say what ran and on which GPUs, rows follow the header of the
// table.
//
// Several runs may follow one another in a log. Read are the columns that the header names, so that old versions
// (without `root`, or `error` for `#wrong`) and statistics by iteration (-I 1) come out the same. Left out are runs
// that report CPU time (-C 1): that is not how long the collective took.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "calibrate/import/nccl_tests.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

class NcclTestsReader {
 public:
  NcclTestsReader(const LogPlace& log, ImportSettings& settings, Imported& imported)
      : log_(log), settings_(settings), imported_(imported), date_(settings.text("date").value_or("")) {}

  void read() {
    const LogText text(log_.text);
    for (const LogLine& line : text.lines()) {
      try {
        read_line(line);
      } catch (const Error& error) {
        imported_.damaged(error);
      }
    }
    const std::size_t last = text.lines().empty() ? 1 : text.lines().back().number;
    if (in_table_)
      imported_.damaged(log_.error(last, "the table ends without its footer, \"# Avg bus bandwidth\"",
                                   "was the run killed? repeat it, or keep what is there with --keep-good"));
  }

 private:
  void read_line(const LogLine& line) {
    const std::string_view text = trimmed(line.text);
    if (text.starts_with('#')) return read_comment(line, trimmed(text.substr(1)));
    if (!in_table_ || text.empty()) return;
    // What NCCL_DEBUG prints may stand anywhere.
    if (text.find(" NCCL INFO ") != std::string_view::npos || text.find(" NCCL WARN ") != std::string_view::npos)
      return;
    if (!whole_number_in(text.substr(0, text.find_first_of(" \t"))))
      throw log_.error(line.number, fmt::format("{} is no row of the table", quoted_for_message(text)),
                       "did the run fail there?");
    read_row(line, text);
  }

  void read_comment(const LogLine& line, std::string_view text) {
    if (const auto version = after(text, "nccl-tests version ")) return begin_run(line, *version);
    if (const auto program = after(text, "Collective test starting: ")) {
      run_.program = std::string(trimmed(*program));
      run_.op = collective_named(run_.program);
      return;
    }
    if (text.starts_with("nThread ")) return begin_devices(line);
    if (text.starts_with("Rank ")) return read_device(line, text);
    if (text.starts_with("size ")) return read_header(line, text);
    if (text.starts_with("Avg bus bandwidth")) in_table_ = false;
    if (text.starts_with("error:")) throw log_.error(line.number, quoted_for_message(text), "the run failed");
  }

  void begin_run(const LogLine& line, std::string_view version) {
    begin_devices(line);
    const auto words = words_of(version);
    run_.tests_version = words.empty() ? "" : std::string(words.front());
    if (const auto library = after(version, "nccl-library="))
      if (const auto code = whole_number_in(trimmed(library->substr(0, library->find_first_of(" \t")))))
        run_.nccl_version = nccl_version_text(*code);
    version_seen_ = true;
  }

  // The first line of a run in old versions, the third in new ones.
  void begin_devices(const LogLine& line) {
    if (in_table_) {
      in_table_ = false;
      imported_.damaged(log_.error(line.number, "another run begins before the footer of the one above",
                                   "keep what is there with --keep-good"));
    }
    if (columns_.empty()) return;
    const bool same_program = !version_seen_;
    NcclRun next;
    if (same_program) {
      next.program = run_.program;
      next.op = run_.op;
    }
    run_ = next;
    version_seen_ = false;
    columns_.clear();
    ranks_.clear();
    ranks_on_.clear();
    groups_.clear();
  }

  // "Rank  0 Group  0 Pid  4711 on  host-a device  0 [0000:18:00] NVIDIA H100 80GB HBM3"
  void read_device(const LogLine& line, std::string_view text) {
    const auto words = words_of(text);
    const auto follows = [&](std::string_view word) -> std::string_view {
      const auto found = std::find(words.begin(), words.end(), word);
      return found == words.end() || found + 1 == words.end() ? std::string_view() : *(found + 1);
    };
    const auto rank = whole_number_in(follows("Rank"));
    const std::string_view host = follows("on");
    if (!rank || *rank >= plan::kGpusMax || host.empty())
      throw log_.error(line.number, fmt::format("{} does not say which rank runs where", quoted_for_message(text)),
                       "write \"# Rank 0 Group 0 Pid 1 on host device 0 [0000:18:00] name\"");
    const std::int64_t group = whole_number_in(follows("Group")).value_or(0);
    if (!ranks_.insert({group, *rank}).second)
      throw log_.error(line.number, fmt::format("rank {} of group {} appears twice", *rank, group),
                       "keep one run after the other");
    ++ranks_on_[std::string(host)];
    groups_.insert(group);
    if (const auto name = after(text, "] ")) run_.device = std::string(trimmed(*name));
  }

  void read_header(const LogLine& line, std::string_view text) {
    columns_.clear();
    in_table_ = unusable_ = true;  // until the header is known to be whole: what columns were before says nothing
    for (const std::string_view word : words_of(text)) columns_.emplace_back(word);
    table_ends_ = columns_.size();
    const auto find = [&](std::initializer_list<std::string_view> names) {
      for (std::size_t i = 0; i < columns_.size(); ++i)
        for (const std::string_view name : names)
          if (columns_[i] == name) return i;
      throw log_.error(line.number, fmt::format("the header has no column \"{}\"", *names.begin()),
                       "keep the header as nccl-tests printed it");
    };
    cpu_time_ = std::find(columns_.begin(), columns_.end(), "cputime") != columns_.end();
    size_ = find({"size"});
    count_ = find({"count"});
    type_ = find({"type"});
    time_ = find({"time", "cputime"});
    algorithm_ = find({"algbw"});
    bus_ = find({"busbw"});
    wrong_ = find({"#wrong", "error"});
    redop_ = find({"redop"});
    in_place_ = wrong_ + 1;
    while (in_place_ < columns_.size() && columns_[in_place_].starts_with("i_")) ++in_place_;
    if (in_place_ < columns_.size() && columns_[in_place_] != columns_[time_]) in_place_ = columns_.size();
    know_run(line);
  }

  // What the log does not say comes from the settings. Where that fails, nothing of the table can be used.
  void know_run(const LogLine& line) {
    run_.date = date_;
    unusable_ = true;
    name_run(line);
    count_ranks(line);
    unusable_ = false;
  }

  void name_run(const LogLine& line) {
    if (run_.program.empty()) {
      run_.program = settings_.require_text("op", log_.at(line.number), "all_reduce");
      run_.op = collective_named(run_.program);
      if (run_.op.empty())
        throw input_error("--set op=" + run_.program, "", "is not known",
                          "write all_reduce, all_gather, reduce_scatter, alltoall or sendrecv");
    }
  }

  void count_ranks(const LogLine& line) {
    if (ranks_.empty()) {
      run_.ranks = settings_.require_integer("ranks", 1, plan::kGpusMax, log_.at(line.number), "8");
      run_.nodes = settings_.require_integer("nodes", 1, plan::kNodesMax, log_.at(line.number), "1");
      return;
    }
    run_.ranks = static_cast<std::int64_t>(ranks_.size());
    run_.nodes = static_cast<std::int64_t>(ranks_on_.size());
    if (ranks_.rbegin()->second != run_.ranks - 1 && groups_.size() == 1)
      throw log_.error(line.number,
                       fmt::format("{} ranks are listed, up to rank {}", run_.ranks, ranks_.rbegin()->second),
                       "list every rank once");
    if (groups_.size() > 1)
      throw log_.error(line.number, fmt::format("{} groups ran at once", groups_.size()),
                       "import runs of one group: foretoken predicts a collective that has the network to itself");
    if (const std::string uneven = uneven_hosts(ranks_on_); !uneven.empty())
      throw log_.error(line.number, uneven, "import runs with as many ranks on every host");
  }

  void read_row(const LogLine& line, std::string_view text) {
    if (unusable_) return imported_.leave_out("of a run that cannot be used");
    if (cpu_time_) return imported_.leave_out("of CPU time instead of time");
    auto words = words_of(text);
    // Old versions leave the reduction blank where there is none.
    if (words.size() + 1 == table_ends_ && redop_ < words.size() && number_in(words[redop_]))
      words.insert(words.begin() + static_cast<std::ptrdiff_t>(redop_), "none");
    // With -S 1 a date and a time of day follow.
    if (words.size() != table_ends_ && words.size() != table_ends_ + 2)
      throw log_.error(line.number, fmt::format("{} columns", words.size()),
                       fmt::format("the header has {}", table_ends_));
    const auto number = [&](std::size_t column) {
      const auto value = number_in(words[column]);
      if (!value || *value < 0)
        throw log_.error(line.number, fmt::format("{} is {}", columns_[column], quoted_for_message(words[column])),
                         "write a number >= 0");
      return *value;
    };
    NcclRow row;
    const auto bytes = whole_number_in(words[size_]);
    if (!bytes || *bytes > std::int64_t{1} << 50)
      throw log_.error(line.number, fmt::format("size is {}", quoted_for_message(words[size_])),
                       "write a whole number of bytes up to 2^50");
    row.bytes = *bytes;
    if (!whole_number_in(words[count_]))
      throw log_.error(line.number, fmt::format("count is {}", quoted_for_message(words[count_])),
                       "write a whole number of elements");
    row.type = std::string(words[type_]);
    row.time_us = number(time_);
    row.algorithm_gb_per_s = number(algorithm_);
    row.bus_gb_per_s = number(bus_);
    if (words[wrong_] != "N/A") row.wrong = number(wrong_);
    if (columns_[wrong_] == "error") row.wrong.reset();  // a difference, not a number of elements
    if (in_place_ < table_ends_ && words[in_place_] != "N/A") row.in_place_us = number(in_place_);
    const auto slowest = std::find(columns_.begin(), columns_.end(), "i_max");
    if (slowest != columns_.end()) row.worst_rank_us = number(static_cast<std::size_t>(slowest - columns_.begin()));
    add_nccl_row(run_, row, log_.at(line.number), imported_);
  }

  const LogPlace& log_;
  ImportSettings& settings_;
  Imported& imported_;
  std::string date_;
  NcclRun run_;
  bool version_seen_ = false;
  std::set<std::pair<std::int64_t, std::int64_t>> ranks_;  // group and rank
  std::map<std::string, std::int64_t> ranks_on_;           // by host
  std::set<std::int64_t> groups_;
  bool in_table_ = false;
  bool unusable_ = false;
  bool cpu_time_ = false;
  std::vector<std::string> columns_;
  std::size_t table_ends_ = 0;
  std::size_t size_ = 0, count_ = 0, type_ = 0, redop_ = 0, time_ = 0, algorithm_ = 0, bus_ = 0, wrong_ = 0,
              in_place_ = 0;
};

}  // namespace

void import_nccl_tests(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  NcclTestsReader(log, settings, imported).read();
}

}  // namespace foretoken::calibrate
