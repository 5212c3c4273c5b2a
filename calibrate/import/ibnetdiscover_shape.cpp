// From cables between GUIDs to nodes with NICs on leaves, and to the rule that their cabling follows, if it does.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "calibrate/import/ibnetdiscover.hpp"
#include "calibrate/import/log_text.hpp"
#include "core/quantity_text.hpp"
#include "plan/machine/limits.hpp"
#include "plan/machine/vertex_names.hpp"

namespace foretoken::calibrate {
namespace {

using Json = nlohmann::ordered_json;

// "mlx5_2" before "mlx5_10": digits as numbers, all else by letter.
bool natural_less(std::string_view a, std::string_view b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto digits = [&](std::string_view text) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
    return text.substr(0, static_cast<std::size_t>(end - text.begin()));
  };
  while (!a.empty() && !b.empty()) {
    if (!is_digit(a.front()) || !is_digit(b.front())) {
      if (a.front() != b.front()) return a.front() < b.front();
      a.remove_prefix(1);
      b.remove_prefix(1);
      continue;
    }
    std::string_view x = digits(a);
    std::string_view y = digits(b);
    a.remove_prefix(x.size());
    b.remove_prefix(y.size());
    while (x.size() > 1 && x.front() == '0') x.remove_prefix(1);
    while (y.size() > 1 && y.front() == '0') y.remove_prefix(1);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  return a.size() < b.size();
}
struct Natural {
  bool operator()(std::string_view a, std::string_view b) const { return natural_less(a, b); }
};

struct Nic {
  IbDevice leaf;
  BytesPerSecond bandwidth;
  std::string speed;
};

using Adapters = std::map<std::string, std::vector<Nic>, Natural>;  // of a host, by name: cables to switches

class Shaper {
 public:
  Shaper(const IbFabric& fabric, const LogPlace& log, ImportSettings& settings)
      : fabric_(fabric), log_(log), settings_(settings) {}

  FabricShape shape() {
    find_hosts();
    choose_adapters();
    choose_hosts();
    find_switches();
    order_nodes();
    shape_.nodes = static_cast<std::int64_t>(nodes_.size());
    shape_.nics = static_cast<std::int64_t>(adapters_.size());
    if (shape_.nodes > plan::kNodesMax)
      throw fail(fmt::format("{} hosts", shape_.nodes), fmt::format("at most {} are supported", plan::kNodesMax));
    read_latency();
    if (!all_on_one() && !rule()) list();
    const std::string first = fmt::format("node0 is {}", nodes_.front());
    shape_.nodes_are =
        nodes_.size() == 1 ? first : fmt::format("{} and node{} is {}", first, nodes_.size() - 1, nodes_.back());
    return std::move(shape_);
  }

 private:
  [[nodiscard]] Error fail(std::string_view found, std::string_view expected) const {
    return log_.error(1, found, expected);
  }

  // ---- hosts and their adapters ------------------------------------------------------------------------------------

  [[nodiscard]] const std::string& description(const IbDevice& device) const { return fabric_.descriptions.at(device); }

  void find_hosts() {
    const std::string prefix = settings_.text("hosts").value_or("");
    std::map<IbDevice, std::set<std::int64_t>> ports;
    for (const IbCable& cable : fabric_.cables)
      for (const IbEnd& end : {cable.a, cable.b}) ports[end.device].insert(end.port);
    for (const IbCable& cable : fabric_.cables) {
      const IbKind a = cable.a.device.kind;
      const IbKind b = cable.b.device.kind;
      if (a == IbKind::router || b == IbKind::router) {
        shape_.notes.insert("routers to other fabrics are left out");
        continue;
      }
      if (a == IbKind::ib_switch && b == IbKind::ib_switch) {
        trunks_.push_back(cable);
        continue;
      }
      if (a == b) {
        shape_.notes.insert("adapters that are cabled to one another, without a switch, are left out");
        continue;
      }
      const IbEnd& adapter = a == IbKind::channel_adapter ? cable.a : cable.b;
      const IbEnd& leaf = a == IbKind::channel_adapter ? cable.b : cable.a;
      add_adapter(adapter, leaf.device, cable, ports[adapter.device].size() > 1, prefix);
    }
    if (hosts_.empty())
      throw fail(prefix.empty() ? "has no host with an adapter on a switch" : fmt::format("has no host {}...", prefix),
                 "adapters are described as \"host adapter\": \"node001 mlx5_0\"");
  }

  void add_adapter(const IbEnd& end, const IbDevice& leaf, const IbCable& cable, bool several_ports,
                   const std::string& prefix) {
    const std::string& text = description(end.device);
    // Quantum switches have an adapter of their own inside, which adds up (SHARP).
    if (text.find("Aggregation Node") != std::string::npos) {
      shape_.notes.insert("aggregation nodes of switches are left out");
      return;
    }
    if (!text.starts_with(prefix)) {
      shape_.notes.insert(fmt::format("hosts that are not {}... are left out, as was asked for", prefix));
      return;
    }
    const auto words = words_of(text);
    if (words.size() != 2)
      throw fail(
          fmt::format("adapter 0x{:x} is described as {}", end.device.guid, quoted_for_message(text)),
          "its host's name and its own are needed, \"node001 mlx5_0\": does rdma-ndd run on the hosts? or leave others "
          "out, --set hosts=node");
    const std::string host(words[0]);
    const std::string adapter = several_ports ? fmt::format("{}/{}", words[1], end.port) : std::string(words[1]);
    hosts_[host][adapter].push_back({leaf, cable.bandwidth, cable.speed});
    if (hosts_[host][adapter].size() > 1)
      throw fail(fmt::format("host {} has two adapters {}", host, adapter),
                 "names of hosts must differ, and of their adapters too");
  }

  // By name, over all hosts: what is slow everywhere is for storage, what is slow on one host is a bad cable.
  void choose_adapters() {
    std::map<std::string, double, Natural> fastest;
    double of_all = 0;
    for (const auto& [host, adapters] : hosts_)
      for (const auto& [name, nics] : adapters) {
        fastest[name] = std::max(fastest[name], nics.front().bandwidth.value());
        of_all = std::max(of_all, fastest[name]);
      }
    if (const auto asked = settings_.text("hcas")) {
      for (const std::string_view name : fields_of(*asked, ',')) {
        if (!fastest.contains(std::string(name)))
          throw input_error(
              "--set hcas=" + *asked, "", fmt::format("no host has an adapter {}", quoted_for_message(name)),
              fmt::format("{} has them from {} to {}", log_.name, fastest.begin()->first, fastest.rbegin()->first));
        if (std::find(adapters_.begin(), adapters_.end(), name) != adapters_.end())
          throw input_error("--set hcas=" + *asked, "", fmt::format("{} is named twice", name), "name each once");
        adapters_.emplace_back(name);
      }
      return;
    }
    // Of hosts with many adapters: others have names of their own kind.
    std::size_t most = 0;
    for (const auto& [host, adapters] : hosts_) most = std::max(most, adapters.size());
    std::set<std::string> of_nodes;
    for (const auto& [host, adapters] : hosts_)
      if (2 * adapters.size() >= most)
        for (const auto& [name, nics] : adapters) of_nodes.insert(name);
    for (const auto& [name, rate] : fastest) {
      if (!of_nodes.contains(name)) continue;
      if (rate < of_all)
        shape_.notes.insert(fmt::format("adapter {} is left out: on no host is it as fast as others", name));
      else adapters_.push_back(name);
    }
  }

  void choose_hosts() {
    std::size_t most = 0;
    for (auto& [host, adapters] : hosts_) {
      std::erase_if(adapters, [&](const auto& adapter) {
        return std::find(adapters_.begin(), adapters_.end(), adapter.first) == adapters_.end();
      });
      most = std::max(most, adapters.size());
    }
    for (const auto& [host, adapters] : hosts_) {
      if (adapters.empty() || 2 * adapters.size() < most)
        shape_.notes.insert(
            fmt::format("host {} is left out: it has {} of {} adapters", host, adapters.size(), adapters_.size()));
      else nodes_.push_back(host);
      if (!adapters.empty() && 2 * adapters.size() >= most && adapters.size() < adapters_.size())
        shape_.notes.insert(fmt::format("host {} has {} of {} adapters: the others have no cable", host,
                                        adapters.size(), adapters_.size()));
    }
    if (nodes_.empty()) throw fail("no host has one of these adapters", "name them as ibnetdiscover does");
    for (const std::string& host : nodes_)
      for (const auto& [name, nics] : hosts_[host])
        if (nics.front().bandwidth > shape_.nic_bandwidth) {
          shape_.nic_bandwidth = nics.front().bandwidth;
          shape_.speed = nics.front().speed;
        }
  }

  // ---- switches ----------------------------------------------------------------------------------------------------

  // Those of the nodes, and all that are cabled to these over any number of switches.
  void find_switches() {
    std::map<IbDevice, std::vector<IbDevice>> neighbours;
    for (const IbCable& trunk : trunks_) {
      neighbours[trunk.a.device].push_back(trunk.b.device);
      neighbours[trunk.b.device].push_back(trunk.a.device);
    }
    std::vector<IbDevice> reached;
    for (const std::string& host : nodes_)
      for (const auto& [name, nics] : hosts_[host])
        if (leaves_.insert(nics.front().leaf).second) reached.push_back(nics.front().leaf);
    std::set<IbDevice> switches(reached.begin(), reached.end());
    for (std::size_t i = 0; i < reached.size(); ++i)
      for (const IbDevice& other : neighbours[reached[i]])
        if (switches.insert(other).second) reached.push_back(other);
    name_switches(switches);
    for (const IbCable& trunk : trunks_) {
      if (!switches.contains(trunk.a.device)) continue;
      auto [lower, upper] = std::minmax(trunk.a.device, trunk.b.device, [&](const auto& a, const auto& b) {
        return leaves_.contains(a) != leaves_.contains(b) ? leaves_.contains(a) : names_.at(a) < names_.at(b);
      });
      ++bundles_[{lower, upper}][trunk.bandwidth.value()];
      fastest_trunk_ = std::max(fastest_trunk_, trunk.bandwidth);
      if (trunk.bandwidth == fastest_trunk_) trunk_speed_ = trunk.speed;
    }
  }

  void name_switches(const std::set<IbDevice>& switches) {
    std::map<std::string, std::int64_t> uses;
    for (const IbDevice& one : switches) ++uses[description(one)];
    for (const IbDevice& one : switches) {
      const std::string& text = description(one);
      const bool unique = uses[text] == 1 && !text.empty() && text.size() < 256 && !plan::parse_node_part(text, "");
      names_[one] = unique ? text
                    : trimmed(text.substr(0, 200)).empty()
                        ? fmt::format("switch 0x{:x}", one.guid)
                        : fmt::format("switch {} 0x{:x}", text.substr(0, 200), one.guid);
    }
  }

  // ---- the order of nodes ------------------------------------------------------------------------------------------

  [[nodiscard]] const Nic* nic(const std::string& host, std::size_t index) const {
    const Adapters& adapters = hosts_.at(host);
    const auto found = adapters.find(adapters_[index]);
    return found == adapters.end() ? nullptr : &found->second.front();
  }

  // The switches of a host's NICs, each once.
  [[nodiscard]] std::set<IbDevice> leaves_of(const std::string& host) const {
    std::set<IbDevice> leaves;
    for (std::size_t i = 0; i < adapters_.size(); ++i)
      if (const Nic* one = nic(host, i)) leaves.insert(one->leaf);
    return leaves;
  }

  // By name, hosts on the same leaves together behind the first of them.
  void order_nodes() {
    std::map<std::set<IbDevice>, std::size_t> group;
    for (const std::string& host : nodes_) group.emplace(leaves_of(host), group.size());
    std::stable_sort(nodes_.begin(), nodes_.end(), [&](const std::string& a, const std::string& b) {
      return group.at(leaves_of(a)) < group.at(leaves_of(b));
    });
  }

  // ---- rules -------------------------------------------------------------------------------------------------------

  void read_latency() {
    const auto given = settings_.text("switch_latency");
    if (given && !parse_duration(*given))
      throw input_error("--set switch_latency=" + *given, "", "is no time with a unit", "write for example '300 ns'");
    latency_ = given.value_or("300 ns");
    latency_source_ = given ? "as given at the import"
                            : "assumed: 300 ns through one more switch with cables, as in the shipped topologies; "
                              "ibnetdiscover tells none";
  }

  [[nodiscard]] std::string source() const {
    return fmt::format("ibnetdiscover, {}", std::filesystem::path(log_.name).filename().string());
  }

  // Every NIC there, and all of one rate.
  [[nodiscard]] bool is_whole() const {
    return std::all_of(nodes_.begin(), nodes_.end(), [&](const std::string& host) {
      for (std::size_t i = 0; i < adapters_.size(); ++i) {
        const Nic* one = nic(host, i);
        if (one == nullptr || one->bandwidth != shape_.nic_bandwidth) return false;
      }
      return true;
    });
  }

  bool all_on_one() {
    if (leaves_.size() != 1 || !is_whole()) return false;
    shape_.fabric = {{"kind", "non_blocking"}};
    shape_.sources = Json::object();
    shape_.notes.insert(
        fmt::format("all NICs are on one switch, {}: the fabric is non-blocking", names_.at(*leaves_.begin())));
    return true;
  }

  // Spines, if every leaf has as many cables of one rate to each of them and to nothing else.
  struct Uplinks {
    std::int64_t spines = 0;
    std::int64_t cables = 0;
    BytesPerSecond bandwidth;
  };
  [[nodiscard]] std::optional<Uplinks> uplinks() const {
    std::set<IbDevice> spines;
    Uplinks uplinks;
    for (const auto& [ends, rates] : bundles_) {
      if (leaves_.contains(ends.second) || !leaves_.contains(ends.first) || rates.size() != 1) return std::nullopt;
      const auto [rate, count] = *rates.begin();
      if (uplinks.cables == 0) uplinks = {0, count, BytesPerSecond(rate)};
      if (count != uplinks.cables || rate != uplinks.bandwidth.value()) return std::nullopt;
      spines.insert(ends.second);
    }
    uplinks.spines = static_cast<std::int64_t>(spines.size());
    if (bundles_.size() != spines.size() * leaves_.size()) return std::nullopt;
    return uplinks;
  }

  // Nodes per leaf or pod where all but the last are full; nothing if some are not, or nodes do not keep to their
  // leaves.
  [[nodiscard]] std::optional<std::int64_t> group_size(bool rails) const {
    std::vector<std::int64_t> sizes;
    std::set<IbDevice> seen;
    std::set<IbDevice> current;
    for (const std::string& host : nodes_) {
      const std::set<IbDevice> leaves = leaves_of(host);
      if (leaves.size() != (rails ? adapters_.size() : 1)) return std::nullopt;
      if (leaves != current) {
        for (const IbDevice& leaf : leaves)
          if (!seen.insert(leaf).second) return std::nullopt;
        current = leaves;
        sizes.push_back(0);
      }
      ++sizes.back();
    }
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
      if (sizes[i] != sizes.front()) return std::nullopt;
    return sizes.back() <= sizes.front() ? std::optional(sizes.front()) : std::nullopt;
  }

  [[nodiscard]] bool is_rails() const {
    std::map<IbDevice, std::size_t> rail;
    for (const std::string& host : nodes_)
      for (std::size_t i = 0; i < adapters_.size(); ++i) {
        const Nic* one = nic(host, i);
        if (one != nullptr && rail.emplace(one->leaf, i).first->second != i) return false;
      }
    return adapters_.size() > 1;
  }

  bool rule() {
    if (!is_whole()) return false;
    const bool rails = is_rails();
    const auto up = uplinks();
    const auto size = group_size(rails);
    if (!up || !size || (up->spines == 0 && (!rails || *size < static_cast<std::int64_t>(nodes_.size())))) return false;
    shape_.fabric = {{"kind", rails ? "rail_optimised" : "leaf_spine"},
                     {rails ? "nodes_per_pod" : "nodes_per_leaf", *size},
                     {"spines", up->spines}};
    const bool spines = up->spines > 0;
    shape_.fabric["uplink"] = {{"cables", spines ? up->cables : 1},
                               {"bandwidth", gbits(spines ? up->bandwidth : shape_.nic_bandwidth)},
                               {"latency", latency_}};
    shape_.sources = {
        {"fabric.uplink.bandwidth", spines ? fmt::format("{}: {} from leaf to spine", source(), trunk_speed_)
                                           : "assumed: no leaf has an uplink, and none is used"},
        {"fabric.uplink.latency", latency_source_}};
    note_routing();
    return true;
  }

  void note_routing() {
    shape_.notes.insert(
        "how the fabric routes is not in the file: taken for static, by a hash; where it routes adaptively, "
        "write \"spread\": \"ideal\"");
  }

  static std::string gbits(BytesPerSecond rate) { return fmt::format("{:.6g} Gb/s", rate.value() * 8 / 1e9); }

  void list() {
    shape_.notes.insert("leaves and spines follow no rule: the fabric is a list of its cables");
    Json switches = Json::array();
    Json links = Json::array();
    for (const auto& [device, name] : names_) switches.push_back(name);
    for (std::size_t node = 0; node < nodes_.size(); ++node)
      for (std::size_t i = 0; i < adapters_.size(); ++i) {
        const Nic* one = nic(nodes_[node], i);
        if (one == nullptr) continue;
        Json link{{"between", {fmt::format("node{}.nic{}", node, i), names_.at(one->leaf)}}};
        if (one->bandwidth != shape_.nic_bandwidth) link["bandwidth"] = gbits(one->bandwidth);
        links.push_back(std::move(link));
      }
    for (const auto& [ends, rates] : bundles_)
      for (const auto& [rate, count] : rates) {
        Json link{{"between", {names_.at(ends.first), names_.at(ends.second)}},
                  {"bandwidth", gbits(BytesPerSecond(rate))},
                  {"latency", latency_}};
        if (count > 1) link["count"] = count;
        links.push_back(std::move(link));
      }
    shape_.fabric = {
        {"kind", "explicit"}, {"pxn", is_rails()}, {"switches", std::move(switches)}, {"links", std::move(links)}};
    const std::string latencies = latency_source_.starts_with("assumed")
                                      ? "assumed latency of 300 ns between switches; all else: "
                                      : "latency between switches as given at the import; all else: ";
    shape_.sources = {{"fabric.links", latencies + source() + ", width and speed of both ends"}};
  }

  const IbFabric& fabric_;
  const LogPlace& log_;
  ImportSettings& settings_;
  FabricShape shape_;
  std::map<std::string, Adapters, Natural> hosts_;
  std::vector<std::string> adapters_;  // names, in the order of the NICs
  std::vector<std::string> nodes_;     // hosts, in the order of the nodes
  std::vector<IbCable> trunks_;        // between switches
  std::set<IbDevice> leaves_;
  std::map<IbDevice, std::string> names_;  // of the switches that matter
  std::map<std::pair<IbDevice, IbDevice>, std::map<double, std::int64_t>>
      bundles_;  // by lower and upper: cables by rate
  BytesPerSecond fastest_trunk_;
  std::string trunk_speed_;
  std::string latency_;
  std::string latency_source_;
};

}  // namespace

FabricShape shape_of(const IbFabric& fabric, const LogPlace& log, ImportSettings& settings) {
  return Shaper(fabric, log, settings).shape();
}

}  // namespace foretoken::calibrate
