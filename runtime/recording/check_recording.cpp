#include "runtime/recording/check_recording.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "runtime/recording/wait_graph.hpp"

namespace foretoken::runtime {
namespace {

// Of each kind of problem the first ones say it all.
constexpr std::size_t kProblemsMax = 20;

// An entry of the logs of all ranks.
struct Place {
  std::int32_t rank = 0;
  std::int32_t entry = 0;
};

// A call that its peers have to match, and where it is.
struct Posted {
  Place place;
  NcclCall call;
  std::int32_t group = 0;  // of its op's groups
};

class Checker {
 public:
  Checker(const plan::Plan& plan, const Recording& recording) : plan_(plan), recording_(recording) {
    for (const RankLog& log : recording.ranks) {
      first_.push_back(entries_);
      entries_ += static_cast<std::int64_t>(log.size());
    }
  }

  RecordingVerdict run() {
    check_streams();
    for (std::size_t family = 0; family < recording_.families.size(); ++family) {
      std::map<std::int32_t, std::vector<RankId>> members;  // by color
      const auto& colors = recording_.families[family].color_of_rank;
      for (std::size_t r = 0; r < colors.size(); ++r)
        if (colors[r] >= 0) members[colors[r]].emplace_back(r);
      for (const auto& entry : members) check_communicator(static_cast<std::int32_t>(family), entry.second);
    }
    // Who waits for whom is only known where the calls match.
    if (verdict_.problems.empty()) check_waits();
    for (std::size_t r = 0; r < recording_.ranks.size(); ++r) check_dependencies(static_cast<std::int32_t>(r));
    return std::move(verdict_);
  }

 private:
  [[nodiscard]] const RecordedOp& at(Place place) const {
    return recording_.ranks[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.entry)];
  }
  [[nodiscard]] std::int64_t number(Place place) const {
    return first_[static_cast<std::size_t>(place.rank)] + place.entry;
  }
  [[nodiscard]] std::string shown(Place place) const {
    const RecordedOp& entry = at(place);
    return fmt::format("rank {}, step {}, {}", place.rank, entry.step,
                       plan_.program.role_of(RankId(place.rank)).ops[entry.op.index()].name);
  }
  static std::string shown(const NcclCall& call) {
    std::string text = fmt::format("{} of {} {}", name_of(call.function), call.count, foretoken::name_of(call.dtype));
    if (call.function == NcclFunction::broadcast || call.function == NcclFunction::reduce)
      text += fmt::format(" with root {}", call.peer);
    return text;
  }
  void problem(std::string text) {
    if (verdict_.problems.size() < kProblemsMax) verdict_.problems.push_back(std::move(text));
  }

  // A stream is in order: behind an op are those before it on its stream and, with its events, on other streams.
  void check_dependencies(std::int32_t rank) {
    const RankLog& log = recording_.ranks[static_cast<std::size_t>(rank)];
    const std::vector<plan::Op>& ops = plan_.program.role_of(RankId(rank)).ops;
    std::map<std::pair<std::int32_t, OpId>, std::int32_t> of_op;
    for (std::size_t e = 0; e < log.size(); ++e) of_op[{log[e].step, log[e].op}] = int32(e);
    for (std::size_t e = 0; e < log.size(); ++e) {
      const RecordedOp& entry = log[e];
      for (const plan::Dependency& dependency : ops[entry.op.index()].dependencies) {
        const auto found = of_op.find({entry.step - dependency.distance, dependency.op});
        if (found == of_op.end()) continue;
        const std::int32_t awaited = found->second;
        const plan::Stream stream = log[static_cast<std::size_t>(awaited)].stream;
        const bool kept =
            (stream == entry.stream && awaited < int32(e)) ||
            std::any_of(entry.waits.begin(), entry.waits.end(), [&](std::int32_t wait) {
              return wait < int32(e) && wait >= awaited && log[static_cast<std::size_t>(wait)].stream == stream;
            });
        if (!kept)
          problem(fmt::format("{}: may start before {} has ended", shown({rank, int32(e)}), shown({rank, awaited})));
      }
    }
  }

  // A communicator on two streams of a rank would tie them to one another behind the plan's back.
  void check_streams() {
    for (std::size_t r = 0; r < recording_.ranks.size(); ++r) {
      std::map<std::int32_t, plan::Stream> stream_of;
      for (std::size_t e = 0; e < recording_.ranks[r].size(); ++e) {
        const RecordedOp& entry = recording_.ranks[r][e];
        if (entry.family < 0) continue;
        const Place place{static_cast<std::int32_t>(r), static_cast<std::int32_t>(e)};
        const NcclFamily& family = recording_.families[static_cast<std::size_t>(entry.family)];
        if (family.color_of_rank[r] < 0)
          problem(fmt::format("{}: the rank is in no communicator of \"{}\"", shown(place), family.name));
        const auto [known, added] = stream_of.try_emplace(entry.family, entry.stream);
        if (!added && known->second != entry.stream)
          problem(fmt::format("{}: communicator \"{}\" is used on streams {} and {}", shown(place), family.name,
                              name_of(known->second), name_of(entry.stream)));
      }
    }
  }

  void check_communicator(std::int32_t family, const std::vector<RankId>& members) {
    ++verdict_.communicators;
    std::vector<std::vector<Posted>> collectives(members.size());
    std::map<std::pair<std::int32_t, std::int32_t>, std::pair<std::vector<Posted>, std::vector<Posted>>> messages;
    for (std::size_t m = 0; m < members.size(); ++m) {
      const RankLog& log = recording_.ranks[members[m].index()];
      const auto own = static_cast<std::int32_t>(m);
      for (std::size_t e = 0; e < log.size(); ++e) {
        if (log[e].family != family) continue;
        const Place place{members[m].value(), static_cast<std::int32_t>(e)};
        check_grouping(place);
        std::int32_t groups = 0;  // begun
        for (const NcclCall& call : log[e].calls) {
          groups += call.function == NcclFunction::group_start ? 1 : 0;
          const std::int32_t group = std::max(0, groups - 1);
          if (is_collective(call.function)) collectives[m].push_back({place, call, group});
          const bool sends = call.function == NcclFunction::send;
          if (!sends && call.function != NcclFunction::recv) continue;
          if (call.peer < 0 || call.peer >= static_cast<std::int32_t>(members.size()) || call.peer == own) {
            problem(fmt::format("{}: {} has peer {}, which is no other member of \"{}\"", shown(place),
                                name_of(call.function), call.peer, name_of_family(family)));
            continue;
          }
          if (sends) messages[{own, call.peer}].first.push_back({place, call, group});
          else messages[{call.peer, own}].second.push_back({place, call, group});
        }
      }
    }
    for (std::size_t m = 1; m < members.size(); ++m) compare(collectives[0], collectives[m], family, true);
    meet(collectives);
    for (const auto& entry : messages) {
      compare(entry.second.first, entry.second.second, family, false);
      for (std::size_t i = 0; i < std::min(entry.second.first.size(), entry.second.second.size()); ++i) {
        pairs_.emplace_back(entry.second.first[i].place, entry.second.second[i].place);
        ++verdict_.messages;
      }
    }
  }

  [[nodiscard]] const std::string& name_of_family(std::int32_t family) const {
    return recording_.families[static_cast<std::size_t>(family)].name;
  }

  // Several calls outside of a group would be carried out one after the other, as NCCL is not told that they belong
  // together.
  void check_grouping(Place place) {
    std::int64_t depth = 0;
    std::int64_t alone = 0;
    for (const NcclCall& call : at(place).calls) {
      if (call.function == NcclFunction::group_start) ++depth;
      else if (call.function == NcclFunction::group_end) --depth;
      else if (call.function != NcclFunction::copy && depth == 0) ++alone;
      if (depth < 0 || depth > 1) break;
    }
    if (depth != 0) problem(fmt::format("{}: a group that is not begun or not ended", shown(place)));
    if (alone > 1) problem(fmt::format("{}: {} calls without a group around them", shown(place), alone));
  }

  // Two ends of one sequence: of two members' collectives, or of the messages from one rank to another. An op's groups
  // are carried out one after the other, so that both ends have to be in the same one of their ops: then no group waits
  // for a later one.
  void compare(const std::vector<Posted>& a, const std::vector<Posted>& b, std::int32_t family, bool collective) {
    const std::size_t common = std::min(a.size(), b.size());
    for (std::size_t i = 0; i < common; ++i) {
      const NcclCall& x = a[i].call;
      const NcclCall& y = b[i].call;
      const bool agree = x.count == y.count && x.dtype == y.dtype &&
                         (!collective || (x.function == y.function && x.peer == y.peer)) &&
                         at(a[i].place).step == at(b[i].place).step;
      if (agree && a[i].group == b[i].group) continue;
      problem(fmt::format("communicator \"{}\": {} {} at {} meets {} at {}{}", name_of_family(family),
                          collective ? "collective" : "message", shown(x), shown(a[i].place), shown(y),
                          shown(b[i].place), agree ? ", in another group of the op" : ""));
      return;  // what follows is shifted
    }
    if (a.size() == b.size()) return;
    const Posted& alone = a.size() > common ? a[common] : b[common];
    problem(fmt::format("communicator \"{}\": {} at {} is not met by {}", name_of_family(family), shown(alone.call),
                        shown(alone.place), collective ? "another member" : "its peer"));
  }

  // The members' k-th collectives.
  void meet(const std::vector<std::vector<Posted>>& collectives) {
    if (!verdict_.problems.empty()) return;
    for (std::size_t k = 0; k < collectives.front().size(); ++k) {
      // Calls of one group are one op.
      if (k > 0 && collectives.front()[k].place.entry == collectives.front()[k - 1].place.entry) continue;
      std::vector<Place> places;
      for (const auto& of_member : collectives) places.push_back(of_member[k].place);
      meetings_.push_back(std::move(places));
      ++verdict_.collectives;
    }
  }

  // ---- deadlock ----------------------------------------------------------------------------------------------------

  // Node 2 n is the start of entry n, node 2 n + 1 its end; a collective's members start together at a node of its own.
  void check_waits() {
    WaitGraph graph(2 * entries_);
    for (std::size_t r = 0; r < recording_.ranks.size(); ++r) add_rank(static_cast<std::int32_t>(r), graph);
    for (const auto& places : meetings_) {
      const std::int64_t all_here = graph.add_node();
      for (const Place place : places) {
        graph.waits(all_here, 2 * number(place));
        graph.waits(2 * number(place) + 1, all_here);
      }
    }
    for (const auto& [sender, receiver] : pairs_) {
      graph.waits(2 * number(sender) + 1, 2 * number(receiver));
      graph.waits(2 * number(receiver) + 1, 2 * number(sender));
    }
    if (const auto cycle = graph.cycle(); !cycle.empty()) {
      problem(fmt::format("deadlock: {}", told(cycle)));
      return;
    }
    for (std::size_t r = 0; r < recording_.ranks.size(); ++r) add_issue_order(static_cast<std::int32_t>(r), graph);
    verdict_.one_at_a_time = graph.cycle().empty();
  }

  void add_rank(std::int32_t rank, WaitGraph& graph) const {
    const RankLog& log = recording_.ranks[static_cast<std::size_t>(rank)];
    std::map<plan::Stream, std::int64_t> on_stream;
    std::map<std::int32_t, std::int64_t> on_communicator;
    std::int64_t host_waited = -1;
    for (std::size_t e = 0; e < log.size(); ++e) {
      const RecordedOp& entry = log[e];
      const std::int64_t own = number({rank, int32(e)});
      graph.waits(2 * own + 1, 2 * own);
      const auto after = [&](std::int64_t other) { graph.waits(2 * own, 2 * other + 1); };
      if (const auto before = on_stream.find(entry.stream); before != on_stream.end()) after(before->second);
      on_stream[entry.stream] = own;
      if (entry.family >= 0) {
        if (const auto before = on_communicator.find(entry.family); before != on_communicator.end())
          after(before->second);
        on_communicator[entry.family] = own;
      }
      for (const std::int32_t wait : entry.waits) after(number({rank, wait}));
      if (entry.host_waits_for >= 0) host_waited = number({rank, entry.host_waits_for});
      if (host_waited >= 0) after(host_waited);
    }
  }

  // What a GPU adds that carries out one communication at a time.
  void add_issue_order(std::int32_t rank, WaitGraph& graph) const {
    const RankLog& log = recording_.ranks[static_cast<std::size_t>(rank)];
    std::int64_t before = -1;
    for (std::size_t e = 0; e < log.size(); ++e) {
      if (log[e].family < 0) continue;
      const std::int64_t own = number({rank, int32(e)});
      if (before >= 0) graph.waits(2 * own, 2 * before + 1);
      before = own;
    }
  }

  static std::int32_t int32(std::size_t value) { return static_cast<std::int32_t>(value); }

  [[nodiscard]] std::string told(const std::vector<std::int64_t>& cycle) const {
    std::vector<std::string> steps;
    std::int64_t last = -1;
    for (const std::int64_t node : cycle) {
      if (node >= 2 * entries_ || node / 2 == last) continue;
      last = node / 2;
      const auto rank = std::upper_bound(first_.begin(), first_.end(), last) - first_.begin() - 1;
      const Place place{static_cast<std::int32_t>(rank),
                        static_cast<std::int32_t>(last - first_[static_cast<std::size_t>(rank)])};
      // The ops between two communications of a rank tell nothing more.
      if (at(place).family >= 0) steps.push_back(shown(place));
      if (steps.size() == 8) {
        steps.emplace_back("…");
        break;
      }
    }
    return fmt::format("{}, which waits for the first", fmt::join(steps, ", waits for "));
  }

  const plan::Plan& plan_;
  const Recording& recording_;
  RecordingVerdict verdict_;
  std::vector<std::int64_t> first_;  // [rank] its first entry's number
  std::int64_t entries_ = 0;
  std::vector<std::vector<Place>> meetings_;    // of collectives
  std::vector<std::pair<Place, Place>> pairs_;  // sends and receives
};

}  // namespace

RecordingVerdict check_recording(const plan::Plan& plan, const Recording& recording) {
  FORETOKEN_CHECK(static_cast<std::int64_t>(recording.ranks.size()) == plan.program.ranks, "a log per rank");
  return Checker(plan, recording).run();
}

}  // namespace foretoken::runtime
