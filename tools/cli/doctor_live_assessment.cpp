#include "tools/cli/doctor_live_assessment.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "plan/program/program.hpp"
#include "sim/cost/host_cost.hpp"

namespace foretoken::cli {
namespace {

using runtime::LinkReading;
using runtime::RankPair;

constexpr const char* kSlowCore =
    "the node's cores are shared with other work, limited (cgroup quota), throttled or clocked low: look at top, "
    "cpu.max and cpupower there";
constexpr const char* kSlowNic =
    "the node's NIC or cable runs at a lower rate, or its port drops frames: look at ethtool or ibstat there, and at "
    "the "
    "switch's counters";
constexpr const char* kSlowWay =
    "the way between the two has a slower or crowded link: look at the switches' counters, and at routes";
constexpr const char* kSlowMemory =
    "memory of a far NUMA node, or a busy core: look at numactl and at the ranks' binding";
constexpr const char* kSlowGroup = "a slow rank or link among these ranks, or ranks that share what others have alone";

// A class of things that are alike, and each one's cost.
struct Cost {
  std::vector<RankId> ranks;
  double cost = 0;  // seconds, or seconds per unit
};

class Assessment {
 public:
  Assessment(LiveEvidence evidence, const runtime::OutlierRule& rule) : evidence_(std::move(evidence)) {
    diagnosis_.rule = rule;
    diagnosis_.readings = std::move(evidence_.readings);
  }

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
  [[nodiscard]] std::string node_name(std::int32_t node) const {
    const std::string& host = readings().hosts[static_cast<std::size_t>(node)];
    return host == fmt::format("node{}", node) ? fmt::format("node {}", node) : fmt::format("node {} ({})", node, host);
  }
  [[nodiscard]] std::string rank_name(RankId rank) const {
    return fmt::format("rank {} on {}", rank.value(), node_name(node_of(rank)));
  }
  [[nodiscard]] std::vector<RankId> ranks_of(std::int32_t node) const {
    std::vector<RankId> ranks;
    for (std::size_t r = 0; r < readings().node_of_rank.size(); ++r)
      if (readings().node_of_rank[r] == node) ranks.emplace_back(r);
    return ranks;
  }
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
        LiveFinding finding{fmt::format("{}: {} is slow on all its ranks", node_name(node), what),
                            "its best rank reached " + beside_peers(unit, costs, costs[best].cost),
                            likely,
                            {node},
                            ranks_of(node),
                            ""};
        diagnosis_.findings.push_back(std::move(finding));
        continue;
      }
      for (const std::size_t i : indices) {
        const RankId rank = costs[i].ranks.front();
        diagnosis_.findings.push_back({fmt::format("{}: {} is slow", rank_name(rank), what),
                                       "reached " + beside_peers(unit, costs, costs[i].cost),
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
    const std::vector<std::optional<double>> expected(product.size(), expected_product());
    name_ranks("product (GEMM)" + clock, "FLOP/s", product, check("product", "FLOP/s", product, expected), kSlowCore);
    name_ranks("memory copy" + clock, "B/s", copy,
               check("copy", "B/s", copy, std::vector<std::optional<double>>(copy.size())), kSlowCore);
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
                       node_name(number)),
           fmt::format("the rank that gets most of a core gets {:.0f} % of it, on other nodes {:.0f} %",
                       100 / costs[node], 100 / runtime::peers_of(costs, diagnosis_.rule).typical),
           kSlowCore,
           {number},
           ranks_of(number),
           ""});
    }
  }

  // Seconds per FLOP of the product by itself on a core, by the calibration.
  [[nodiscard]] std::optional<double> expected_product() const {
    if (evidence_.calibration == nullptr || !evidence_.calibration->host) return std::nullopt;
    const auto n = static_cast<std::int64_t>(evidence_.core_product);
    plan::Role role;
    for (const plan::TensorKind kind :
         {plan::TensorKind::activation, plan::TensorKind::weight, plan::TensorKind::activation}) {
      plan::Tensor tensor;
      tensor.kind = kind;
      tensor.dtype = DType::fp32;
      tensor.rows = plan::Extent::fixed(n);
      tensor.cols = n;
      role.tensors.push_back(tensor);
    }
    plan::Op op;
    op.kind = plan::OpKind::gemm;
    op.dtype = DType::fp32;
    op.detail = plan::GemmOp{plan::Extent::fixed(n), n, n};
    op.inputs = {TensorId(0), TensorId(1)};
    op.outputs = {TensorId(2)};
    role.ops.push_back(op);
    const sim::HostCost cost(*evidence_.calibration->host, "", 1);
    const Seconds time = cost.compute(role, role.ops.front(), {}, Bytes(3 * n * n * 4)).alone;
    return time.value() / (2.0 * static_cast<double>(n * n * n));
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

  void within_nodes() {
    const std::vector<Cost> bandwidth = directions(readings().within_nodes);
    const std::vector<Cost> latency = latencies(readings().within_nodes);
    check("bandwidth within node", "B/s", bandwidth, std::vector<std::optional<double>>(bandwidth.size()));
    check("latency within node", "s", latency, std::vector<std::optional<double>>(latency.size()));
    const std::vector<Cost> sends = best_of_rank(bandwidth, {0, 1});
    name_ranks("messages within its node", "B/s", sends, outliers_of(sends), kSlowMemory);
    const std::vector<Cost> answers = best_of_rank(latency, {0, 1});
    name_ranks("answering within its node", "s", answers, outliers_of(answers), kSlowMemory);
  }

  void between_nodes() {
    if (readings().hosts.size() < 2) return;
    const std::vector<Cost> bandwidth = directions(readings().between_nodes);
    const std::vector<Cost> latency = latencies(readings().between_nodes);
    check("bandwidth between nodes", "B/s", bandwidth, expected_bandwidths(bandwidth));
    check("latency between nodes", "s", latency, expected_latencies(latency));
    std::set<std::int32_t> named;
    // With two nodes both are at the ends of the same ways: no peer tells which of them is to blame.
    if (readings().hosts.size() > 2) {
      name_nodes("sends", bandwidth, 0, named);
      name_nodes("receives", bandwidth, 1, named);
    } else {
      by_topology(bandwidth, named);
    }
    name_ways(bandwidth, named);
  }

  void name_nodes(const char* verb, const std::vector<Cost>& ways, std::size_t end, std::set<std::int32_t>& named) {
    const std::vector<Cost> nodes = best_of_rank(ways, {end});
    for (const std::size_t i : outliers_of(nodes)) {
      const std::int32_t node = node_of(nodes[i].ranks.front());
      named.insert(node);
      diagnosis_.findings.push_back(
          {fmt::format("{}: its link to other nodes is slow, it {} slowly", node_name(node), verb),
           fmt::format("with the best of the others it reached {}", beside_peers("B/s", nodes, nodes[i].cost)),
           kSlowNic,
           {node},
           nodes[i].ranks,
           link_of(nodes[i].ranks.front())});
    }
  }

  // Ways that are slow beside others, between nodes that are not known to be slow themselves.
  void name_ways(const std::vector<Cost>& ways, const std::set<std::int32_t>& named) {
    std::vector<Cost> others;
    for (const Cost& one : ways)
      if (!named.contains(node_of(one.ranks[0])) && !named.contains(node_of(one.ranks[1]))) others.push_back(one);
    for (const std::size_t i : outliers_of(others)) {
      const std::int32_t from = node_of(others[i].ranks[0]);
      const std::int32_t to = node_of(others[i].ranks[1]);
      diagnosis_.findings.push_back({fmt::format("from {} to {}: the way is slow", node_name(from), node_name(to)),
                                     "reached " + beside_peers("B/s", others, others[i].cost),
                                     readings().hosts.size() > 2 ? kSlowWay : kSlowNic,
                                     {from, to},
                                     others[i].ranks,
                                     ""});
    }
  }

  // ---- what the topology says
  // ----------------------------------------------------------------------------------------

  [[nodiscard]] bool knows_links() const {
    return evidence_.machine != nullptr &&
           evidence_.machine->gpus() == static_cast<std::int64_t>(readings().node_of_rank.size()) &&
           evidence_.machine->nodes() == static_cast<std::int64_t>(readings().hosts.size());
  }
  [[nodiscard]] std::string link_name(LinkId link) const {
    const plan::Link& one = evidence_.machine->links()[link.index()];
    return evidence_.machine->vertex_name(one.from) + " > " + evidence_.machine->vertex_name(one.to);
  }
  // The first link by which a rank leaves its node.
  [[nodiscard]] std::string link_of(RankId rank) const {
    if (!knows_links()) return "";
    for (std::size_t other = 0; other < readings().node_of_rank.size(); ++other) {
      if (readings().node_of_rank[other] == node_of(rank)) continue;
      for (const LinkId link : evidence_.machine->route(rank, RankId(other)))
        if (evidence_.machine->links()[link.index()].link_class == LinkClass::infiniband) return link_name(link);
    }
    return "";
  }
  [[nodiscard]] double narrowest(RankId from, RankId to) const {
    double cost = 0;
    for (const LinkId link : evidence_.machine->route(from, to))
      cost = std::max(cost, 1 / evidence_.machine->links()[link.index()].bandwidth.value());
    return cost;
  }
  // What most links between nodes have, by the topology, in seconds per byte.
  [[nodiscard]] double nominal() const {
    std::vector<double> costs;
    for (const plan::Link& link : evidence_.machine->links())
      if (link.link_class == LinkClass::infiniband) costs.push_back(1 / link.bandwidth.value());
    return costs.empty() ? 0 : runtime::peers_of(costs, diagnosis_.rule).typical;
  }
  [[nodiscard]] double payload() const {
    const bool known =
        evidence_.calibration != nullptr && evidence_.calibration->host && evidence_.calibration->host->network;
    return known ? evidence_.calibration->host->network->payload : 1;
  }

  // Two nodes: the way between them beside what the topology gives most links. Whose link is odd by the topology is
  // named; else either end.
  void by_topology(const std::vector<Cost>& ways, std::set<std::int32_t>& named) {
    if (!knows_links() || nominal() == 0) return;
    const double most = nominal() / payload();
    std::vector<const Cost*> slow;
    for (const Cost& one : ways)
      if (one.cost > most * (1 + diagnosis_.rule.tolerance)) slow.push_back(&one);
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
      named.insert(node);
      const plan::Link& link = evidence_.machine->links()[where.second.index()];
      diagnosis_.findings.push_back(
          {fmt::format("{}: its link to the other node is slow", node_name(node)),
           fmt::format("{}; with two nodes no measurement tells which end it is: by the topology it is {}, with {}",
                       beside(*where.first), link_name(where.second), amount_text(link.bandwidth.value(), "B/s")),
           kSlowNic,
           {node},
           where.first->ranks,
           link_name(where.second)});
    }
    if (!odd.empty() || slow.empty()) return;
    diagnosis_.findings.push_back({"the link between the two nodes is slow, at either end",
                                   beside(*slow.front()),
                                   kSlowNic,
                                   {node_of(slow.front()->ranks[0]), node_of(slow.front()->ranks[1])},
                                   slow.front()->ranks,
                                   ""});
    for (const std::int32_t node : diagnosis_.findings.back().nodes) named.insert(node);
  }

  [[nodiscard]] std::vector<std::optional<double>> expected_bandwidths(const std::vector<Cost>& ways) const {
    std::vector<std::optional<double>> expected(ways.size());
    if (!knows_links() || evidence_.calibration == nullptr) return expected;
    for (std::size_t i = 0; i < ways.size(); ++i)
      expected[i] = narrowest(ways[i].ranks[0], ways[i].ranks[1]) / payload();
    return expected;
  }
  [[nodiscard]] std::vector<std::optional<double>> expected_latencies(const std::vector<Cost>& ways) const {
    std::vector<std::optional<double>> expected(ways.size());
    const bool known =
        evidence_.calibration != nullptr && evidence_.calibration->host && evidence_.calibration->host->network;
    if (!knows_links() || !known) return expected;
    const HostNetwork& network = *evidence_.calibration->host->network;
    for (std::size_t i = 0; i < ways.size(); ++i) {
      double time = network.latency.value();
      for (const LinkId link : evidence_.machine->route(ways[i].ranks[0], ways[i].ranks[1]))
        time += evidence_.machine->links()[link.index()].latency.value();
      const double bytes = 8 + static_cast<double>(network.overhead.value());
      expected[i] = time + bytes * narrowest(ways[i].ranks[0], ways[i].ranks[1]) / payload();
    }
    return expected;
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
                                       kSlowGroup,
                                       {nodes.begin(), nodes.end()},
                                       costs[i].ranks,
                                       ""});
      }
    }
  }

  LiveEvidence evidence_;
  LiveDiagnosis diagnosis_;
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
