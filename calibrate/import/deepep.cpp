// What DeepEP's own tests print: test_low_latency, test_intranode and test_internode, and test_ep of its second
// version.
//
// Times are taken, never the bandwidths, which count tokens that stay on their rank. Of a test that every rank reports,
// a line is the mean over ranks, with the fastest and the slowest beside it: kernels wait for one another, so ranks
// differ by who came late.
//   low latency   "[rank 3] Dispatch bandwidth: …, avg_t=… us | Combine bandwidth: …": kernel times of FP8 dispatch and
//                 BF16 combine. The line of both together is left alone: it is of no single op.
//   normal        "[tuning] Best dispatch (FP8): SMs 24, …: 40 + 1340 us, …": notifying and transmitting together
//   second        "   * EP:   3/16 | dispatch: …, 310.2 us, … | copy: …, 55.1 us": the kernel and its copy together;
//                 of expanded, cached and reduced variants nothing
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kKernelMicrosecondsMax = 1e8;
constexpr std::int64_t kTokensMax = std::int64_t{1} << 24;
constexpr std::int64_t kWidthMax = std::int64_t{1} << 20;
constexpr std::int64_t kTopKMax = 4096;

struct Shape {
  std::optional<std::int64_t> tokens, hidden, top_k, experts, ep, nodes, sms;
};

// What all ranks say about one run of one kernel.
struct Report {
  std::map<std::int64_t, double> time_us;  // by rank
  std::string_view op, dtype, algorithm;
  Shape shape;
  std::size_t last_line = 0;
};

class DeepEpReader {
 public:
  DeepEpReader(const LogPlace& log, ImportSettings& settings, Imported& imported)
      : log_(log), settings_(settings), imported_(imported), date_(settings.text("date")) {}

  void read() {
    const LogText text(log_.text);
    for (const LogLine& line : text.lines()) {
      try {
        read_line(line);
      } catch (const Error& error) {
        imported_.damaged(error);
      }
    }
    for (const auto& [key, report] : reports_) {
      try {
        add_report(report);
      } catch (const Error& error) {
        imported_.damaged(error);
      }
    }
  }

 private:
  void read_line(const LogLine& line) {
    const std::string_view text = trimmed(line.text);
    if (text.starts_with("[rank ") && text.find("Dispatch bandwidth:") != std::string_view::npos)
      return read_low_latency(line, text);
    if (const auto config = after(text, "[config] ")) return read_config(*config);
    if (const auto best = after(text, "[tuning] Best ")) return read_tuned(line, *best);
    if (text.starts_with("> ")) return read_elastic_config(line, text.substr(2));
    if (text.size() > 6 && text.substr(1).starts_with(" EP: ")) return read_elastic(line, text);
  }

  // ---- one rank's line
  // -----------------------------------------------------------------------------------------------

  /// @param rest  of the line, from where it is not as it should be
  Error cut(const LogLine& line, std::string_view rest, std::string_view example) const {
    const std::string_view damaged = trimmed(rest);
    return log_.error(line.number,
                      damaged.empty() ? "the line ends too early"
                                      : fmt::format("the line is damaged from {} on", quoted_for_message(damaged)),
                      fmt::format("a whole one has \"{}\"; did two ranks write into one line?", example));
  }

  Error no_time(const LogLine& line, double time_us) const {
    return log_.error(line.number, fmt::format("a time of {} us", time_us),
                      fmt::format("write one above 0, up to {:g}", kKernelMicrosecondsMax));
  }

  static bool is_time(std::optional<double> value) { return value && *value > 0 && *value <= kKernelMicrosecondsMax; }
  static bool is_rank(std::optional<double> value) {
    return value && *value >= 0 && *value < static_cast<double>(plan::kGpusMax) &&
           *value == static_cast<double>(static_cast<std::int64_t>(*value));
  }

  void report(const LogLine& line, std::string_view kernel, std::int64_t rank, double time_us, const Report& about) {
    // The k-th report of a rank belongs to the k-th run, in whatever order ranks came to print.
    const std::int64_t run = seen_[{std::string(kernel), rank}]++;
    Report& whole = reports_[{run, std::string(kernel)}];
    if (whole.time_us.empty()) {
      const std::map<std::int64_t, double> none;
      whole = about;
      whole.time_us = none;
    } else if (whole.shape.ep != about.shape.ep) {
      throw log_.error(line.number,
                       fmt::format("rank {} of {}, but of {} above", rank, *about.shape.ep, *whole.shape.ep),
                       "keep the output of one run");
    }
    whole.time_us[rank] = time_us;
    whole.last_line = line.number;
  }

  void read_low_latency(const LogLine& line, std::string_view text) {
    std::string_view rest = text;
    take(rest, "[rank");
    const auto rank = take_number(rest);
    const bool begins =
        is_rank(rank) && take(rest, "] Dispatch bandwidth:") && take_number(rest) && take(rest, "GB/s, avg_t=");
    const auto dispatch = begins ? take_number(rest) : std::nullopt;
    const bool goes_on = take(rest, "us | Combine bandwidth:") && take_number(rest) && take(rest, "GB/s, avg_t=");
    const auto combine = begins && goes_on ? take_number(rest) : std::nullopt;
    if (!dispatch || !combine || trimmed(rest) != "us")
      throw cut(
          line, rest,
          "[rank 3] Dispatch bandwidth: 43.10 GB/s, avg_t=174.20 us | Combine bandwidth: 41.02 GB/s, avg_t=352.96 us");
    for (const double time : {*dispatch, *combine})
      if (!is_time(time)) throw no_time(line, time);
    Report about;
    about.algorithm = "low_latency";
    about.op = "dispatch";
    about.dtype = "fp8";
    report(line, "low-latency dispatch", static_cast<std::int64_t>(*rank), *dispatch, about);
    about.op = "combine";
    about.dtype = "bf16";
    report(line, "low-latency combine", static_cast<std::int64_t>(*rank), *combine, about);
  }

  // "num_tokens=4096, hidden=7168, num_topk_groups=4, num_topk=8"
  void read_config(std::string_view config) {
    for (const std::string_view field : fields_of(config, ',')) {
      const std::size_t equals = field.find('=');
      if (equals == std::string_view::npos) continue;
      const auto value = whole_number_in(field.substr(equals + 1));
      const std::string_view key = field.substr(0, equals);
      if (key == "num_tokens") said_.tokens = value;
      if (key == "hidden") said_.hidden = value;
      if (key == "num_topk") said_.top_k = value;
    }
  }

  // "dispatch (FP8): SMs 24, NVL chunk 20, RDMA chunk 28: 40 + 1340 us, 58.10 GB/s (RDMA), …"
  // "combine: SMs 24, NVL chunk 4: 155.20 GB/s (NVL), t: 812.44 us"
  void read_tuned(const LogLine& line, std::string_view best) {
    constexpr std::string_view example =
        "[tuning] Best dispatch (FP8): SMs 24, NVL chunk 20, RDMA chunk 28: 40 + 1340 us";
    Report about;
    about.algorithm = "hierarchical";
    const bool dispatch = best.starts_with("dispatch (");
    if (!dispatch && !best.starts_with("combine:")) throw cut(line, best, example);
    about.op = dispatch ? "dispatch" : "combine";
    about.dtype = dispatch && best.starts_with("dispatch (FP8)") ? "fp8" : "bf16";
    about.shape = said_;
    auto sms = after(best, "SMs ");
    const auto count = sms ? take_number(*sms) : std::nullopt;
    if (!count || *count < 1 || *count > 1024) throw cut(line, sms.value_or(best), example);
    about.shape.sms = static_cast<std::int64_t>(*count);
    std::optional<double> time = sum_of_two(*sms);
    if (auto single = after(*sms, ", t: "); !time && single) {
      time = take_number(*single);
      if (!take(*single, "us")) time.reset();
    }
    if (!time && best.find(" us") == std::string_view::npos && best.find("GB/s") != std::string_view::npos)
      return imported_.leave_out("of an old version of DeepEP, which prints no times");
    if (!time) throw cut(line, *sms, example);
    if (!is_time(time)) throw no_time(line, *time);
    about.last_line = line.number;
    about.time_us[0] = *time;
    tuned_shape(about);
    add_op(about, *time);
  }

  // "N + T us" of notifying and transmitting; nothing if there is no such sum.
  static std::optional<double> sum_of_two(std::string_view text) {
    const std::size_t plus = text.find(" + ");
    if (plus == std::string_view::npos) return std::nullopt;
    const std::size_t begin = text.find_last_of(" :,", plus == 0 ? 0 : plus - 1);
    const auto notify = number_in(trimmed(text.substr(begin == std::string_view::npos ? 0 : begin + 1,
                                                      plus - (begin == std::string_view::npos ? 0 : begin + 1))));
    std::string_view rest = text.substr(plus + 3);
    const auto transmit = take_number(rest);
    if (!notify || *notify < 0 || !transmit || *transmit <= 0 || !take(rest, "us")) return std::nullopt;
    return *notify + *transmit;
  }

  // " > Ranks: 2 x 8" and what follows.
  void read_elastic_config(const LogLine& line, std::string_view text) {
    std::string_view rest = text;
    const auto two = [&](std::string_view between, std::optional<std::int64_t>& a, std::optional<std::int64_t>& b,
                         std::string_view example) {
      const auto first = take_number(rest);
      const auto second = take(rest, between) ? take_number(rest) : std::nullopt;
      if (!first || !second || *first < 1 || *second < 1 || *first > 1e6 || *second > 1e6)
        throw cut(line, rest, example);
      a = static_cast<std::int64_t>(*first);
      b = static_cast<std::int64_t>(*second);
    };
    if (take(rest, "Ranks:")) {
      std::optional<std::int64_t> per_node;
      two("x", said_.nodes, per_node, "> Ranks: 2 x 8");
      said_.ep = *said_.nodes * *per_node;
    } else if (take(rest, "Experts:")) {
      two("/", said_.top_k, said_.experts, "> Experts: 8/256");
    } else if (take(rest, "Tokens:")) {
      const auto tokens = take_number(rest);
      auto hidden = after(rest, "hidden:");
      const auto width = hidden ? take_number(*hidden) : std::nullopt;
      if (!tokens || !width || *tokens < 1 || *tokens > 1e7 || *width < 1 || *width > 1e6)
        throw cut(line, hidden.value_or(rest), "> Tokens: 4096 (max: 4096), hidden: 7168");
      said_.tokens = static_cast<std::int64_t>(*tokens);
      said_.hidden = static_cast<std::int64_t>(*width);
    } else if (take(rest, "#SM:")) {
      const auto sms = take_number(rest);
      if (!sms || *sms < 1 || *sms > 1024) throw cut(line, rest, "> #SM: 24, #QPs: 24/128");
      said_.sms = static_cast<std::int64_t>(*sms);
    } else if (const auto fp8 = after(rest, "use_fp8_dispatch=")) {
      fp8_ = fp8->starts_with("True") || fp8->starts_with("1");
    }
  }

  // "* EP:   3/16 | dispatch: 61 GB/s (SO), 210 GB/s (SU), 310.204 us, 65011712 bytes | copy: 1400 GB/s, 55.120 us"
  void read_elastic(const LogLine& line, std::string_view text) {
    const char kind = text.front();
    if (kind == '-' || kind == '#' || kind == '+')
      return imported_.leave_out("of expanded, cached and reduced variants");
    if (kind != '*' && kind != '@') return;
    std::string_view rest = text.substr(1);
    take(rest, "EP:");
    const auto rank = take_number(rest);
    const auto ranks = take(rest, "/") ? take_number(rest) : std::nullopt;
    const bool dispatch = kind == '*';
    bool whole = is_rank(rank) && is_rank(ranks) && take(rest, dispatch ? "| dispatch:" : "| combine:");
    whole = whole && take_number(rest) && take(rest, "GB/s (SO),") && take_number(rest) && take(rest, "GB/s (SU),");
    const auto kernel = whole ? take_number(rest) : std::nullopt;
    whole = whole && take(rest, "us,") && take_number(rest) &&
            take(rest, dispatch ? "bytes | copy:" : "bytes | reduce:") && take_number(rest) && take(rest, "GB/s,");
    const auto copy = whole ? take_number(rest) : std::nullopt;
    if (!kernel || !copy || trimmed(rest) != "us")
      throw cut(line, rest,
                "* EP:   3/16 | dispatch: 61 GB/s (SO), 210 GB/s (SU), 310.204 us, 65011712 bytes | copy: 1400 GB/s, "
                "55.120 us");
    if (!is_time(kernel)) throw no_time(line, *kernel);
    if (*copy < 0 || *copy > kKernelMicrosecondsMax) throw no_time(line, *copy);
    Report about;
    about.op = dispatch ? "dispatch" : "combine";
    about.dtype = dispatch && fp8_ ? "fp8" : "bf16";
    about.algorithm = "hierarchical";
    about.shape = said_;
    about.shape.ep = static_cast<std::int64_t>(*ranks);
    report(line, about.op, static_cast<std::int64_t>(*rank), *kernel + *copy, about);
  }

  // ---- lines of ops
  // ----------------------------------------------------------------------------------------------------

  // Only one rank of a node prints what it tuned.
  void tuned_shape(Report& report) {
    report.shape.ep = settings_.require_integer("ep", 1, plan::kGpusMax, log_.at(report.last_line), "16");
  }

  void add_report(Report report) {
    const auto heard = static_cast<std::int64_t>(report.time_us.size());
    const std::int64_t ranks = report.shape.ep.value_or(report.time_us.rbegin()->first + 1);
    if (heard != ranks || report.time_us.rbegin()->first != ranks - 1)
      throw log_.error(report.last_line, fmt::format("{} of {} ranks report this {}", heard, ranks, report.op),
                       "keep the output of every rank");
    report.shape.ep = ranks;
    double sum = 0, least = std::numeric_limits<double>::max(), most = 0;
    for (const auto& [rank, time] : report.time_us) {
      sum += time;
      least = std::min(least, time);
      most = std::max(most, time);
    }
    add_op(report, sum / static_cast<double>(heard), least, most);
  }

  void add_op(const Report& report, double time_us, double least = 0, double most = 0) {
    const std::string at = log_.at(report.last_line);
    const auto said_or_set = [&](const std::optional<std::int64_t>& said, std::string_view key, std::int64_t max,
                                 std::string_view example) {
      if (!said) return settings_.require_integer(key, 1, max, at, example);
      if (*said < 1 || *said > max)
        throw input_error(at, "", fmt::format("{} is {}", key, *said), fmt::format("write 1 to {}", max));
      return *said;
    };
    const Shape& shape = report.shape;
    nlohmann::ordered_json op{{"op", report.op}, {"dtype", report.dtype}, {"ep", *shape.ep}};
    op["nodes"] = said_or_set(shape.nodes, "nodes", plan::kNodesMax, "1");
    op["tokens"] = said_or_set(shape.tokens, "tokens", kTokensMax, "128");
    op["hidden"] = said_or_set(shape.hidden, "hidden", kWidthMax, "7168");
    op["top_k"] = said_or_set(shape.top_k, "top_k", kTopKMax, "8");
    op["experts"] = said_or_set(shape.experts, "experts", kWidthMax, "256");
    op["algorithm"] = report.algorithm;
    if (shape.sms) op["sms"] = *shape.sms;
    op["measured_us"] = time_us;
    if (most > 0) {
      op["fastest_rank_us"] = least;
      op["slowest_rank_us"] = most;
    }
    op["tool"] = "DeepEP";
    if (date_) op["date"] = *date_;
    op["source"] = at;
    imported_.add(std::move(op));
  }

  const LogPlace& log_;
  ImportSettings& settings_;
  Imported& imported_;
  std::optional<std::string> date_;
  Shape said_;
  bool fp8_ = false;
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> seen_;  // kernel and rank: how often
  std::map<std::pair<std::int64_t, std::string>, Report> reports_;     // run and kernel
};

}  // namespace

void import_deepep(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  DeepEpReader(log, settings, imported).read();
}

}  // namespace foretoken::calibrate
