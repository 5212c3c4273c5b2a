#include "tools/cli/doctor_live_assessment.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "tools/cli/doctor_live_expected.hpp"
#include "tools/cli/doctor_live_names.hpp"

namespace foretoken::cli {
namespace {

using runtime::LinkReading;
using runtime::RankPair;

// A class of things that are alike, and each one's cost.
struct Cost {
  std::vector<RankId> ranks;
  double cost = 0;  // seconds, or seconds per unit
};

class Assessment {
 public:
  Assessment(LiveEvidence evidence, const runtime::OutlierRule& rule)
      : evidence_(std::move(evidence)),
        diagnosis_{std::move(evidence_.readings), rule, {}, {}},
        causes_(causes_of(readings())),
        expected_(evidence_.machine, evidence_.calibration, readings(),
                  static_cast<std::int64_t>(evidence_.core_product)) {}

  LiveDiagnosis operator()() {
    cores();
    within_nodes();
    between_nodes();
    communications();
    return std::move(diagnosis_);
  }

 private:
  // ---- names
  // ---------------------------------------------------------------------------------------------------------

  [[nodiscard]] std::int32_t node_of(RankId rank) const { return readings().node_of_rank[rank.index()]; }
  [[nodiscard]] std::string name_of_node(std::int32_t node) const { return node_name(readings(), node); }
  [[nodiscard]] bool has_gpus() const { return !readings().gpus.empty(); }
  [[nodiscard]] const runtime::HealthReadings& readings() const { return diagnosis_.readings; }

  // ---- checks
  // --------------------------------------------------------------------------------------------------------

  static double in_unit(const std::string& unit, double cost) { return unit == "s" ? cost : 1 / cost; }

  // Adds a check per cost; returns the indices of the outliers.
  std::vector<std::size_t> check(const std::string& what, const std::string& unit, const std::vector<Cost>& costs,
                                 const std::vector<std::optional<double>>& expected) {
    if (costs.empty()) return {};
    std::vector<double> values;
    for (const Cost& one : costs) values.push_back(one.cost);
    const runtime::Peers peers = runtime::peers_of(values, diagnosis_.rule);
    const std::vector<std::size_t> found = runtime::outliers(values, diagnosis_.rule);
    for (std::size_t i = 0; i < costs.size(); ++i) {
      LiveCheck one;
      one.what = what;
      one.ranks = costs[i].ranks;
      one.unit = unit;
      one.reached = in_unit(unit, costs[i].cost);
      one.typical = in_unit(unit, peers.typical);
      if (expected[i]) one.expected = in_unit(unit, *expected[i]);
      one.outlier = std::binary_search(found.begin(), found.end(), i);
      diagnosis_.checks.push_back(std::move(one));
    }
    against_calibration(what, unit, peers.typical, expected);
    return found;
  }

  // What all have alike, no peer tells.
  void against_calibration(const std::string& what, const std::string& unit, double typical,
                           const std::vector<std::optional<double>>& expected) {
    std::vector<double> known;
    for (const std::optional<double>& one : expected)
      if (one) known.push_back(*one);
    if (known.empty()) return;
    const double should = runtime::peers_of(known, diagnosis_.rule).typical;
    if (typical <= should * (1 + kCalibrationTolerance)) return;
    LiveFinding finding;
    finding.what = fmt::format("{} everywhere: {:.0f} % of what the calibration says", what, 100 * should / typical);
    finding.evidence = fmt::format("typically {}, by {} {}", amount_text(in_unit(unit, typical), unit),
                                   evidence_.calibration->name, amount_text(in_unit(unit, should), unit));
    finding.likely = "other work on these computers, or a calibration of other ones";
    diagnosis_.findings.push_back(std::move(finding));
  }

  [[nodiscard]] std::string beside_peers(const std::string& unit, const std::vector<Cost>& costs, double cost) const {
    std::vector<double> values;
    for (const Cost& one : costs) values.push_back(one.cost);
    const runtime::Peers peers = runtime::peers_of(values, diagnosis_.rule);
    return fmt::format("{}, the median of {} peers is {}, robust deviation {:.1f} %",
                       amount_text(in_unit(unit, cost), unit), costs.size(),
                       amount_text(in_unit(unit, peers.typical), unit), 100 * peers.deviation / peers.typical);
  }

  // How a GPU was meanwhile that is slow at computing.
  [[nodiscard]] std::string conditions_of(RankId rank, const std::string& unit) const {
    if (!has_gpus() || unit != "FLOP/s" || readings().gpus[rank.index()].conditions.empty()) return "";
    return "; meanwhile " + readings().gpus[rank.index()].conditions;
  }

  // Outliers among ranks: a node whose ranks are all among them is named instead of them. Costs have one rank each.
  void name_ranks(const std::string& what, const std::string& unit, const std::vector<Cost>& costs,
                  const std::vector<std::size_t>& found, const char* likely) {
    std::map<std::int32_t, std::vector<std::size_t>> by_node;
    std::map<std::int32_t, std::size_t> measured;
    for (const Cost& one : costs) ++measured[node_of(one.ranks.front())];
    for (const std::size_t i : found) by_node[node_of(costs[i].ranks.front())].push_back(i);
    for (const auto& [node, indices] : by_node) {
      const auto best = *std::min_element(indices.begin(), indices.end(),
                                          [&](std::size_t a, std::size_t b) { return costs[a].cost < costs[b].cost; });
      if (indices.size() == measured[node] && readings().hosts.size() > 1) {
        LiveFinding finding{fmt::format("{}: {} is slow on all its ranks", name_of_node(node), what),
                            "its best rank reached " + beside_peers(unit, costs, costs[best].cost),
                            likely,
                            {node},
                            ranks_of(readings(), node),
                            ""};
        diagnosis_.findings.push_back(std::move(finding));
        continue;
      }
      for (const std::size_t i : indices) {
        const RankId rank = costs[i].ranks.front();
        diagnosis_.findings.push_back(
            {fmt::format("{}: {} is slow", rank_name(readings(), rank), what),
             "reached " + beside_peers(unit, costs, costs[i].cost) + conditions_of(rank, unit),
             likely,
             {node},
             {rank},
             ""});
      }
    }
  }

  // ---- cores
  // ---------------------------------------------------------------------------------------------------------

  void cores() {
    std::vector<Cost> product;
    std::vector<Cost> copy;
    // Ranks that take turns on the cores get now more and now less of them, which is no fault of theirs: then they are
    // compared by what they do while they have one.
    const bool by_cpu = readings().cores_shared;
    for (std::size_t r = 0; r < readings().cores.size(); ++r) {
      const runtime::CoreReading& core = readings().cores[r];
      product.push_back({{RankId(r)}, 1 / (by_cpu ? core.product_by_cpu : core.product).value()});
      copy.push_back({{RankId(r)}, 1 / (by_cpu ? core.copy_by_cpu : core.copy).value()});
    }
    const std::string clock = by_cpu ? ", by CPU time," : "";
    const std::vector<std::optional<double>> expected(product.size(), expected_.product());
    name_ranks("product (GEMM)" + clock, "FLOP/s", product, check("product", "FLOP/s", product, expected),
               causes_.slow_core);
    name_ranks("memory copy" + clock, "B/s", copy,
               check("copy", "B/s", copy, std::vector<std::optional<double>>(copy.size())), causes_.slow_core);
    if (by_cpu) core_shares();
  }

  // A node whose ranks get less of a core than those of others, even the one that gets most: it is limited.
  void core_shares() {
    std::map<std::int32_t, double> most;
    for (std::size_t r = 0; r < readings().cores.size(); ++r) {
      const runtime::CoreReading& core = readings().cores[r];
      double& share = most[node_of(RankId(r))];
      share = std::max(share, core.product.value() / core.product_by_cpu.value());
    }
    std::vector<double> costs;
    for (const auto& [node, share] : most) costs.push_back(1 / share);
    for (const std::size_t node : runtime::outliers(costs, diagnosis_.rule)) {
      const auto number = static_cast<std::int32_t>(node);
      diagnosis_.findings.push_back(
          {fmt::format("{}: product (GEMM) is slow on all its ranks, which are given little of the cores",
                       name_of_node(number)),
           fmt::format("the rank that gets most of a core gets {:.0f} % of it, on other nodes {:.0f} %",
                       100 / costs[node], 100 / runtime::peers_of(costs, diagnosis_.rule).typical),
           causes_.slow_core,
           {number},
           ranks_of(readings(), number),
           ""});
    }
  }

  // ---- links
  // ---------------------------------------------------------------------------------------------------------

  static double cost_of(const LinkReading& reading, std::size_t direction) {
    return 1 / reading.bandwidth[direction].value();
  }
  static RankPair way(const LinkReading& reading, std::size_t direction) {
    return direction == 0 ? reading.pair : RankPair{reading.pair.second, reading.pair.first};
  }

  // Every direction of every pair.
  static std::vector<Cost> directions(const std::vector<LinkReading>& all) {
    std::vector<Cost> costs;
    for (const LinkReading& reading : all)
      for (const std::size_t d : {0, 1})
        costs.push_back({{way(reading, d).first, way(reading, d).second}, cost_of(reading, d)});
    return costs;
  }
  static std::vector<Cost> latencies(const std::vector<LinkReading>& all) {
    std::vector<Cost> costs;
    for (const LinkReading& reading : all)
      costs.push_back({{reading.pair.first, reading.pair.second}, reading.latency.value()});
    return costs;
  }
  // What is the best of the pairs that a rank is at the given ends of: one slow end makes all of its pairs slow, a
  // healthy one has a fast pair with every healthy rank.
  static std::vector<Cost> best_of_rank(const std::vector<Cost>& pairs, const std::vector<std::size_t>& ends) {
    std::map<RankId, double> best;
    for (const Cost& pair : pairs)
      for (const std::size_t end : ends) {
        const auto [entry, added] = best.try_emplace(pair.ranks[end], pair.cost);
        if (!added) entry->second = std::min(entry->second, pair.cost);
      }
    std::vector<Cost> costs;
    for (const auto& [rank, cost] : best) costs.push_back({{rank}, cost});
    return costs;
  }
  [[nodiscard]] std::vector<std::size_t> outliers_of(const std::vector<Cost>& costs) const {
    std::vector<double> values;
    for (const Cost& one : costs) values.push_back(one.cost);
    return runtime::outliers(values, diagnosis_.rule);
  }

  using Expectation = std::optional<double> (LiveExpected::*)(RankId from, RankId to) const;
  [[nodiscard]] std::vector<std::optional<double>> expected_of(const std::vector<Cost>& ways, Expectation what) const {
    std::vector<std::optional<double>> expected;
    for (const Cost& one : ways) expected.push_back((expected_.*what)(one.ranks[0], one.ranks[1]));
    return expected;
  }
  // Of cores a calibration says nothing about messages in their memory one by one.
  [[nodiscard]] std::vector<std::optional<double>> expected_within(const std::vector<Cost>& ways,
                                                                   Expectation what) const {
    return has_gpus() ? expected_of(ways, what) : std::vector<std::optional<double>>(ways.size());
  }

  void within_nodes() {
    const std::vector<Cost> bandwidth = directions(readings().within_nodes);
    const std::vector<Cost> latency = latencies(readings().within_nodes);
    check("bandwidth within node", "B/s", bandwidth, expected_within(bandwidth, &LiveExpected::per_byte));
    check("latency within node", "s", latency, expected_within(latency, &LiveExpected::latency));
    const std::vector<Cost> sends = best_of_rank(bandwidth, {0, 1});
    name_ranks("messages within its node", "B/s", sends, outliers_of(sends), causes_.slow_memory);
    const std::vector<Cost> answers = best_of_rank(latency, {0, 1});
    name_ranks("answering within its node", "s", answers, outliers_of(answers), causes_.slow_memory);
  }

  void between_nodes() {
    if (readings().hosts.size() < 2) return;
    const std::vector<Cost> bandwidth = directions(readings().between_nodes);
    const std::vector<Cost> latency = latencies(readings().between_nodes);
    check("bandwidth between nodes", "B/s", bandwidth, expected_of(bandwidth, &LiveExpected::per_byte));
    check("latency between nodes", "s", latency, expected_of(latency, &LiveExpected::latency));
    std::set<RankId> named;
    // With two nodes both are at the ends of the same ways: no peer tells which of them is to blame. But where their
    // GPUs have NICs of their own, the others' ways are peers.
    if (readings().hosts.size() > 2) {
      name_ends("sends", bandwidth, 0, named);
      name_ends("receives", bandwidth, 1, named);
      name_ways(bandwidth, named);
    } else if (has_gpus()) {
      name_ways(bandwidth, named);
      by_topology(bandwidth, named);
    } else {
      by_topology(bandwidth, named);
      name_ways(bandwidth, named);
    }
  }

  // Ranks whose best way to another node is slow; a node if all its ranks that were measured are among them.
  void name_ends(const char* verb, const std::vector<Cost>& ways, std::size_t end, std::set<RankId>& named) {
    const std::vector<Cost> ends = best_of_rank(ways, {end});
    std::map<std::int32_t, std::size_t> measured;
    for (const Cost& one : ends) ++measured[node_of(one.ranks.front())];
    std::map<std::int32_t, std::vector<std::size_t>> by_node;
    for (const std::size_t i : outliers_of(ends)) by_node[node_of(ends[i].ranks.front())].push_back(i);
    for (const auto& [node, indices] : by_node) {
      const bool all = indices.size() == measured[node] && (!has_gpus() || indices.size() > 1);
      for (const std::size_t i : indices) {
        const RankId rank = ends[i].ranks.front();
        named.insert(rank);
        if (all && i != indices.front()) continue;
        const std::string its = all && indices.size() > 1 ? "all its links to other nodes are slow, it"
                                                          : "its link to other nodes is slow, it";
        diagnosis_.findings.push_back(
            {fmt::format("{}: {} {} slowly", all ? name_of_node(node) : link_end_name(readings(), rank), its, verb),
             fmt::format("with the best of the others it reached {}", beside_peers("B/s", ends, ends[i].cost)),
             causes_.slow_nic,
             {node},
             {rank},
             link_of(rank)});
      }
    }
  }

  // Ways that are slow beside others, between ranks that are not known to be slow themselves.
  void name_ways(const std::vector<Cost>& ways, std::set<RankId>& named) {
    std::vector<Cost> others;
    for (const Cost& one : ways)
      if (!named.contains(one.ranks[0]) && !named.contains(one.ranks[1])) others.push_back(one);
    for (const std::size_t i : outliers_of(others)) {
      const RankId from = others[i].ranks[0];
      const RankId to = others[i].ranks[1];
      named.insert({from, to});
      diagnosis_.findings.push_back({fmt::format("from {} to {}: the way is slow", link_end_name(readings(), from),
                                                 link_end_name(readings(), to)),
                                     "reached " + beside_peers("B/s", others, others[i].cost),
                                     readings().hosts.size() > 2 ? causes_.slow_way : causes_.slow_nic,
                                     {node_of(from), node_of(to)},
                                     others[i].ranks,
                                     ""});
    }
  }

  // ---- what the topology says
  // ----------------------------------------------------------------------------------------

  [[nodiscard]] std::string link_name(LinkId link) const {
    const plan::Link& one = evidence_.machine->links()[link.index()];
    return evidence_.machine->vertex_name(one.from) + " > " + evidence_.machine->vertex_name(one.to);
  }
  // The first link by which a rank leaves its node.
  [[nodiscard]] std::string link_of(RankId rank) const {
    if (!expected_.knows_links()) return "";
    for (std::size_t other = 0; other < readings().node_of_rank.size(); ++other) {
      if (readings().node_of_rank[other] == node_of(rank)) continue;
      for (const LinkId link : evidence_.machine->route(rank, RankId(other)))
        if (evidence_.machine->links()[link.index()].link_class == LinkClass::infiniband) return link_name(link);
    }
    return "";
  }
  // What most links between nodes have, by the topology, in seconds per byte.
  [[nodiscard]] double nominal() const {
    std::vector<double> costs;
    for (const plan::Link& link : evidence_.machine->links())
      if (link.link_class == LinkClass::infiniband) costs.push_back(1 / link.bandwidth.value());
    return costs.empty() ? 0 : runtime::peers_of(costs, diagnosis_.rule).typical;
  }
  // Two nodes: the way between them beside what the topology gives most links. Whose link is odd by the topology is
  // named; else either end.
  void by_topology(const std::vector<Cost>& ways, std::set<RankId>& named) {
    if (!expected_.knows_links() || nominal() == 0) return;
    const double most = nominal() / expected_.payload();
    std::vector<const Cost*> slow;
    for (const Cost& one : ways)
      if (!named.contains(one.ranks[0]) && !named.contains(one.ranks[1]) &&
          one.cost > most * (1 + diagnosis_.rule.tolerance))
        slow.push_back(&one);
    std::map<std::int32_t, std::pair<const Cost*, LinkId>> odd;
    for (const Cost* one : slow)
      for (const LinkId link : evidence_.machine->route(one->ranks[0], one->ranks[1])) {
        const plan::Link& its = evidence_.machine->links()[link.index()];
        if (its.link_class != LinkClass::infiniband ||
            1 / its.bandwidth.value() <= nominal() * (1 + diagnosis_.rule.tolerance))
          continue;
        for (const RankId rank : one->ranks) {
          const std::string prefix = fmt::format("node{}.", node_of(rank));
          if (evidence_.machine->vertex_name(its.from).starts_with(prefix) ||
              evidence_.machine->vertex_name(its.to).starts_with(prefix))
            odd.try_emplace(node_of(rank), one, link);
        }
      }
    const auto beside = [&](const Cost& one) {
      return fmt::format(
          "between the two nodes {} were reached, {:.0f} % of the {} that most links have by the topology",
          amount_text(1 / one.cost, "B/s"), 100 * most / one.cost, amount_text(1 / nominal(), "B/s"));
    };
    for (const auto& [node, where] : odd) {
      for (const RankId rank : ranks_of(readings(), node)) named.insert(rank);
      const plan::Link& link = evidence_.machine->links()[where.second.index()];
      diagnosis_.findings.push_back(
          {fmt::format("{}: its link to the other node is slow", name_of_node(node)),
           fmt::format("{}; with two nodes no measurement tells which end it is: by the topology it is {}, with {}",
                       beside(*where.first), link_name(where.second), amount_text(link.bandwidth.value(), "B/s")),
           causes_.slow_nic,
           {node},
           where.first->ranks,
           link_name(where.second)});
    }
    if (!odd.empty() || slow.empty()) return;
    diagnosis_.findings.push_back({"the link between the two nodes is slow, at either end",
                                   beside(*slow.front()),
                                   causes_.slow_nic,
                                   {node_of(slow.front()->ranks[0]), node_of(slow.front()->ranks[1])},
                                   slow.front()->ranks,
                                   ""});
    for (std::size_t r = 0; r < readings().node_of_rank.size(); ++r) named.insert(RankId(r));
  }

  // ---- communications of a scenario
  // ----------------------------------------------------------------------------------

  void communications() {
    std::map<std::pair<std::string, std::vector<RankId>>, double> predicted;
    for (const collective::GroupTime& one : evidence_.predicted) predicted[{one.what, one.ranks}] = one.time.value();
    std::map<std::string, std::vector<Cost>> kinds;
    for (const collective::GroupTime& one : evidence_.communications)
      kinds[one.what].push_back({one.ranks, std::max(one.time.value(), 1e-9)});
    for (const auto& [what, costs] : kinds) {
      std::vector<std::optional<double>> expected;
      for (const Cost& one : costs) {
        const auto known = predicted.find({what, one.ranks});
        expected.push_back(known == predicted.end() ? std::nullopt : std::optional(known->second));
      }
      for (const std::size_t i : check(what, "s", costs, expected)) {
        std::set<std::int32_t> nodes;
        for (const RankId rank : costs[i].ranks) nodes.insert(node_of(rank));
        std::vector<std::int32_t> numbers;
        for (const RankId rank : costs[i].ranks) numbers.push_back(rank.value());
        diagnosis_.findings.push_back({fmt::format("ranks {}: {} is slow", fmt::join(numbers, ", "), what),
                                       "took " + beside_peers("s", costs, costs[i].cost),
                                       causes_.slow_group,
                                       {nodes.begin(), nodes.end()},
                                       costs[i].ranks,
                                       ""});
      }
    }
  }

  LiveEvidence evidence_;
  LiveDiagnosis diagnosis_;
  const LiveCauses& causes_;
  LiveExpected expected_;
};

}  // namespace

std::string amount_text(double amount, const std::string& unit) {
  constexpr std::array<std::pair<double, const char*>, 7> prefixes{
      {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "u"}}};
  for (const auto& [factor, prefix] : prefixes)
    if (amount >= factor) return fmt::format("{:.3g} {}{}", amount / factor, prefix, unit);
  return fmt::format("{:.3g} n{}", amount * 1e9, unit);
}

LiveDiagnosis assess(LiveEvidence evidence, const runtime::OutlierRule& rule) {
  return Assessment(std::move(evidence), rule)();
}

}  // namespace foretoken::cli
