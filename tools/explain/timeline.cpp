#include "tools/explain/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "tools/explain/event_index.hpp"
#include "tools/explain/link_use.hpp"
#include "tools/explain/shown_ranks.hpp"
#include "tools/explain/waits.hpp"

namespace foretoken::explain {
namespace {

using Json = nlohmann::ordered_json;

constexpr SimTime kInsideSlice{1'000};  // 1 ns: viewers bind an arrow's end to the slice that is open at that time

// Microseconds, exactly: a double would lose picoseconds after some minutes.
std::string microseconds(SimTime time) {
  const std::int64_t ps = time.value();
  const std::int64_t size = ps < 0 ? -ps : ps;
  return fmt::format("{}{}.{:06}", ps < 0 ? "-" : "", size / 1'000'000, size % 1'000'000);
}

std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace); }

/// Where the events of a run go in a file of several.
struct Place {
  std::string prefix;        // of the names of its processes
  std::int64_t process = 0;  // its processes come after this one
  std::int64_t arrows = 0;   // its arrows likewise
  SimTime later{};           // added to every time
};

class Writer {
 public:
  Writer(const Trace& trace, const CriticalPath& path, Place place = {})
      : trace_(trace),
        path_(path),
        place_(std::move(place)),
        arrows_(place_.arrows),
        ranks_(shown_ranks(trace, path.rank)),
        index_(trace),
        waits_(trace) {
    for (const auto& ops : trace.roles) {
      auto& names = names_.emplace_back();
      for (const TraceOp& op : ops) names.push_back(quoted(op.name));
    }
  }

  /// The run's entries, with commas between them.
  std::string entries() {
    name_processes();
    for (std::size_t e = 0; e < trace_.size(); ++e)
      if (ranks_.contains(trace_.rank[e])) add_event(e);
    add_critical_path();
    add_counters();
    return std::move(text_);
  }

  /// After entries(): the first that are free.
  [[nodiscard]] std::int64_t next_process() const { return links_process(); }
  [[nodiscard]] std::int64_t next_arrow() const { return arrows_; }

 private:
  // Viewers take process 0 for the idle one.
  [[nodiscard]] std::int64_t process_of(std::int32_t rank) const { return place_.process + rank + 1; }
  [[nodiscard]] std::int64_t path_process() const { return place_.process + trace_.ranks + 1; }
  [[nodiscard]] std::int64_t links_process() const { return place_.process + trace_.ranks + 2; }
  [[nodiscard]] std::string at(SimTime time) const { return microseconds(time + place_.later); }
  [[nodiscard]] int thread_of(std::size_t event) const { return threads_.at(trace_.op_of(event).stream); }
  [[nodiscard]] const std::string& name_of_event(std::size_t event) const {
    const auto role = trace_.role_of_rank[static_cast<std::size_t>(trace_.rank[event])];
    return names_[static_cast<std::size_t>(role)][static_cast<std::size_t>(trace_.op[event])];
  }

  void begin_entry() {
    if (!first_) text_ += ",\n";
    first_ = false;
  }

  template <class... Arguments>
  void entry(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    begin_entry();
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
  }

  void name_process(std::int64_t process, const std::string& name) {
    entry(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})", process, quoted(place_.prefix + name));
    entry(R"({{"ph":"M","pid":{},"name":"process_sort_index","args":{{"sort_index":{}}}}})", process, process);
  }

  void name_thread(std::int64_t process, int thread, const std::string& name) {
    entry(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})", process, thread, quoted(name));
    entry(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}}}})", process, thread,
          thread);
  }

  void name_processes() {
    for (const auto& ops : trace_.roles)  // threads in the order in which a role's program first names its streams
      for (const TraceOp& op : ops) threads_.try_emplace(op.stream, static_cast<int>(threads_.size()) + 1);
    for (const std::int32_t rank : ranks_) {
      name_process(process_of(rank), fmt::format("rank {}", rank));
      std::set<std::string> streams;
      const auto role = static_cast<std::size_t>(trace_.role_of_rank[static_cast<std::size_t>(rank)]);
      for (const TraceOp& op : trace_.roles[role]) streams.insert(op.stream);
      for (const std::string& stream : streams) name_thread(process_of(rank), threads_.at(stream), stream);
    }
    name_process(path_process(), "critical path");
    name_thread(path_process(), 1, "what the slowest rank's last token waited for");
    if (trace_.links) name_process(links_process(), "links");
  }

  void add_event(std::size_t e) {
    const TraceOp& op = trace_.op_of(e);
    const std::int64_t process = process_of(trace_.rank[e]);
    const int thread = thread_of(e);
    if (trace_.begun[e] > trace_.posted[e])
      entry(R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":"wait","cat":"wait","args":{{"for":{}}}}})",
            process, thread, at(trace_.posted[e]), microseconds(trace_.begun[e] - trace_.posted[e]), name_of_event(e));
    if (trace_.ended[e] > trace_.begun[e]) {
      entry(
          R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"cat":"{}","args":{{"step":{},"layer":{},"micro_batch":{},"rests_on":"{}"}}}})",
          process, thread, at(trace_.begun[e]), microseconds(trace_.ended[e] - trace_.begun[e]), name_of_event(e),
          op.kind, trace_.step[e], op.layer, op.micro_batch, name_of(trace_.provenance[e]));
      add_message_arrow(e);
    } else if (op.kind == "step_end") {
      entry(R"({{"ph":"i","s":"t","pid":{},"tid":{},"ts":{},"name":"end of step {}","cat":"step_end"}})", process,
            thread, at(trace_.ended[e]), trace_.step[e]);
    }
  }

  // To whom a message came: from whom it did.
  void add_message_arrow(std::size_t e) {
    const TraceOp& op = trace_.op_of(e);
    if (!op.meets) return;
    const std::int32_t known = trace_.last_peer.empty() ? -1 : trace_.last_peer[e];
    if (op.kind != "recv" && known < 0) return;
    waits_.for_each_peer(trace_.rank[e], trace_.op[e], [&](std::int32_t peer, std::int32_t peer_op) {
      if (op.kind != "recv" && peer != known) return;
      const auto other = index_.find(peer, trace_.step[e], peer_op);
      if (other && ranks_.contains(peer)) add_arrow(*other, trace_.begun[*other], e, "message");
    });
  }

  void add_arrow(std::size_t from, SimTime left, std::size_t to, const char* name) {
    const SimTime arrived = std::max(trace_.ended[to] - kInsideSlice, trace_.begun[to]);
    if (left > arrived || trace_.ended[from] <= left) return;
    ++arrows_;
    entry(R"({{"ph":"s","id":{},"pid":{},"tid":{},"ts":{},"name":"{}","cat":"{}"}})", arrows_,
          process_of(trace_.rank[from]), thread_of(from), at(left), name, name);
    entry(R"({{"ph":"f","bp":"e","id":{},"pid":{},"tid":{},"ts":{},"name":"{}","cat":"{}"}})", arrows_,
          process_of(trace_.rank[to]), thread_of(to), at(arrived), name, name);
  }

  void add_critical_path() {
    const PathSegment* before = nullptr;
    for (const PathSegment& segment : path_.segments) {
      const std::int32_t rank = trace_.rank[segment.event];
      entry(
          R"({{"ph":"X","pid":{},"tid":1,"ts":{},"dur":{},"name":{},"cat":"{}","args":{{"rank":{},"step":{},"waited_for":"{}"}}}})",
          path_process(), at(segment.begin), microseconds(segment.time()), name_of_event(segment.event),
          name_of(segment.work), rank, trace_.step[segment.event], name_of(segment.cause));
      // From the op on the other rank, just before it ended, to what waited for it.
      if (before != nullptr && rank != trace_.rank[before->event] && ranks_.contains(rank) &&
          ranks_.contains(trace_.rank[before->event]))
        add_arrow(before->event, std::max(before->begin, before->end - kInsideSlice), segment.event, "critical path");
      before = &segment;
    }
  }

  void add_counters() {
    if (!trace_.links) return;
    for (const LinkCounter& counter : link_counters(*trace_.links))
      for (std::size_t s = 0; s < counter.utilisation.size(); ++s)
        entry(R"({{"ph":"C","pid":{},"ts":{},"name":"{} used, %","args":{{"value":{:.3f}}}}})", links_process(),
              at(trace_.links->sampled[s]), counter.link_class, 100 * counter.utilisation[s]);
  }

  const Trace& trace_;
  const CriticalPath& path_;
  Place place_;
  std::int64_t arrows_;
  std::set<std::int32_t> ranks_;
  EventIndex index_;
  Waits waits_;
  std::vector<std::vector<std::string>> names_;  // [role][op] as JSON
  std::map<std::string, int> threads_;           // by stream
  std::string text_;
  bool first_ = true;
};

std::string file_of(const std::string& title, const std::string& clock, const std::string& entries) {
  return "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"title\":" + quoted(title) + ",\"clock\":" + quoted(clock) +
         "},\"traceEvents\":[\n" + entries + "\n]}\n";
}

SimTime counted_begin(const Trace& trace) { return slowest_of(step_windows(trace)).begin; }

// Names come from files; a comma or a quotation mark in one must not shift the columns.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted_text = "\"";
  for (const char c : text) quoted_text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted_text + "\"";
}

void add_ops(std::string& text, char side, const Trace& trace) {
  const SimTime begin = counted_begin(trace);
  for (std::size_t e = 0; e < trace.size(); ++e) {
    const TraceOp& op = trace.op_of(e);
    fmt::format_to(std::back_inserter(text), "{},{},{},{},{},{},{},{},{},{},{}\n", side, trace.rank[e],
                   trace.step[e] - trace.warmup_steps, cell(op.name), cell(op.kind), cell(op.stream), op.layer,
                   (trace.posted[e] - begin).value(), (trace.begun[e] - begin).value(),
                   (trace.ended[e] - begin).value(), name_of(trace.provenance[e]));
  }
}

}  // namespace

std::string timeline_json(const Trace& trace, const CriticalPath& path, const std::string& title) {
  return file_of(title, trace.clock, Writer(trace, path).entries());
}

std::string timelines_json(const Trace& a, const CriticalPath& path_a, const Trace& b, const CriticalPath& path_b,
                           const std::string& title) {
  Writer first(a, path_a, {"A ", 0, 0, SimTime(0)});
  std::string entries = first.entries();
  Writer second(b, path_b, {"B ", first.next_process(), first.next_arrow(), counted_begin(a) - counted_begin(b)});
  entries += ",\n" + second.entries();
  return file_of(title, a.clock == b.clock ? a.clock : a.clock + ", " + b.clock, entries);
}

std::string ops_csv(const Trace& a, const Trace& b) {
  std::string text = "side,rank,step,name,kind,stream,layer,posted_ps,begun_ps,ended_ps,provenance\n";
  add_ops(text, 'A', a);
  add_ops(text, 'B', b);
  return text;
}

}  // namespace foretoken::explain
