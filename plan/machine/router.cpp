#include "plan/machine/router.hpp"

#include <algorithm>
#include <boost/graph/breadth_first_search.hpp>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/filtered_graph.hpp>
#include <boost/property_map/property_map.hpp>
#include <numeric>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/numbers.hpp"

namespace foretoken::plan {

struct EdgeLink {
  LinkId link;
};
using Graph = boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, EdgeLink>;

struct RoutingGraphs {
  Graph node;                            // the first node: GPUs, NICs, NVSwitch, PCIe switches
  std::vector<std::size_t> link_source;  // [link of the node's block] -> vertex of `node` at which it begins
  Graph fabric;                          // the switches
  std::vector<std::int32_t> up_begin;    // [NIC] -> first of its links to switches
  std::vector<LinkId> up;
};

namespace {

using Edge = boost::graph_traits<Graph>::edge_descriptor;
using Ends = std::vector<std::pair<std::size_t, std::size_t>>;

constexpr std::size_t kHopsStoredMax = std::size_t{1} << 26;  // 128 MiB: then what is known is found anew

Graph graph_of(const Ends& ends, const std::vector<EdgeLink>& links, std::int64_t vertices) {
  return Graph(boost::edges_are_unsorted_multi_pass, ends.begin(), ends.end(), links.begin(), at(vertices));
}

// A well mixed function of its argument (splitmix64's finaliser; public domain constants).
std::uint64_t mixed(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

// Links that are alive and, inside a node, leave `root` or a switch.
struct Usable {
  const Graph* graph = nullptr;
  const std::vector<char>* dead = nullptr;
  std::int64_t first_link = 0;  // of this node's block
  std::size_t root = 0;
  std::size_t ends = 0;  // vertices before this one, root aside, are where messages end
  bool operator()(const Edge& edge) const {
    const std::size_t from = source(edge, *graph);
    if (from < ends && from != root) return false;
    return dead->empty() || (*dead)[at(first_link + (*graph)[edge].link.value())] == 0;
  }
};

/// Notes for every vertex the link by which breadth-first search, and so a path of fewest hops, first reaches it (among
/// equals the one that was added first), and how many hops that takes.
template <class Parents, class Hops>
class RecordTree : public boost::default_bfs_visitor {
 public:
  RecordTree(Parents parents, Hops hops, const Graph& all) : parents_(parents), hops_(hops), all_(&all) {}
  template <class SomeGraph>
  void tree_edge(const Edge& edge, const SomeGraph& graph) const {
    const auto from = source(edge, graph);
    const auto to = target(edge, graph);
    if (parents_ != nullptr) parents_[to] = (*all_)[edge].link.value();
    hops_[to] = static_cast<std::uint16_t>(hops_[from] + 1);
  }

 private:
  Parents parents_;
  Hops hops_;
  const Graph* all_;
};

void search(const Graph& graph, const Usable& usable, std::size_t root, std::int32_t* parents, std::uint16_t* hops) {
  const boost::filtered_graph<Graph, Usable> open(graph, usable);
  std::vector<boost::default_color_type> colors(num_vertices(graph), boost::white_color);
  boost::queue<std::size_t> pending;
  hops[root] = 0;
  boost::breadth_first_visit(open, root, pending, RecordTree(parents, hops, graph),
                             boost::make_iterator_property_map(colors.begin(), get(boost::vertex_index, graph)));
}

}  // namespace

std::shared_ptr<const RoutingGraphs> routing_graphs(const Wiring& wiring) {
  // Vertices of the first node, numbered as Wiring numbers them.
  const auto local = [&](VertexId vertex) -> std::size_t {
    const std::int64_t id = vertex.value();
    const std::int64_t gpus = wiring.gpus_per_node;
    const std::int64_t nics = wiring.nics_per_node;
    switch (wiring.kind_of(vertex)) {
      case VertexKind::gpu: return at(id);
      case VertexKind::nic: return at(gpus + id - wiring.gpus());
      case VertexKind::nvswitch: return at(gpus + nics);
      default: return at(gpus + nics + 1 + id - wiring.first_pcie_switch());
    }
  };
  auto graphs = std::make_shared<RoutingGraphs>();
  Ends ends;
  std::vector<EdgeLink> inside;
  for (std::int64_t l = 0; l < wiring.links_per_node; ++l) {
    const Link& link = wiring.links[at(l)];
    const bool leaves = link.link_class == LinkClass::infiniband;
    graphs->link_source.push_back(leaves ? 0 : local(link.from));
    if (leaves) continue;
    ends.emplace_back(local(link.from), local(link.to));
    inside.push_back({LinkId(at(l))});
  }
  graphs->node = graph_of(ends, inside, wiring.gpus_per_node + wiring.nics_per_node + 1 + wiring.pcie_per_node);

  ends.clear();
  std::vector<EdgeLink> between;
  std::vector<std::vector<LinkId>> up(at(wiring.nics()));
  for (std::size_t l = 0; l < wiring.links.size(); ++l) {
    const Link& link = wiring.links[l];
    if (link.link_class != LinkClass::infiniband) continue;
    const std::int64_t to = link.to.value() - wiring.first_switch();
    if (wiring.kind_of(link.from) == VertexKind::nic) {
      up[at(link.from.value() - wiring.gpus())].push_back(LinkId(l));
    } else if (wiring.kind_of(link.to) == VertexKind::fabric_switch) {
      ends.emplace_back(at(link.from.value() - wiring.first_switch()), at(to));
      between.push_back({LinkId(l)});
    }
  }
  graphs->fabric = graph_of(ends, between, wiring.switches);
  graphs->up_begin.push_back(0);
  for (const auto& links : up) {
    graphs->up.insert(graphs->up.end(), links.begin(), links.end());
    graphs->up_begin.push_back(static_cast<std::int32_t>(graphs->up.size()));
  }
  return graphs;
}

Router::Router(std::shared_ptr<const Wiring> wiring, std::shared_ptr<const RoutingGraphs> graphs,
               std::vector<char> dead)
    : wiring_(std::move(wiring)), graphs_(std::move(graphs)), dead_(std::move(dead)) {
  if (wiring_->links.empty()) return;  // a host
  // The first node may be damaged itself, so what healthy ones look like is found without any damage.
  std::vector<char> all;
  std::swap(all, dead_);
  healthy_ = search_node(0);
  std::swap(all, dead_);
  for (std::size_t link = 0; link < dead_.size(); link += 2) {
    const auto node = static_cast<std::int64_t>(link) / wiring_->links_per_node;
    if (dead_[link] != 0 && node < wiring_->nodes && !damaged_.contains(node))
      damaged_.emplace(node, search_node(node));
  }
}

// ---- inside a node -------------------------------------------------------------------------------------------------

Router::NodeRoutes Router::search_node(std::int64_t node) const {
  NodeRoutes routes;
  const std::int64_t targets = wiring_->gpus_per_node + wiring_->nics_per_node;
  routes.ways.resize(at(wiring_->gpus_per_node * targets));
  for (std::int64_t gpu = 0; gpu < wiring_->gpus_per_node; ++gpu) search_from(node, gpu, routes);
  add_forwarding(routes);
  order_nics(routes);
  return routes;
}

void Router::search_from(std::int64_t node, std::int64_t gpu, NodeRoutes& routes) const {
  const std::size_t vertices = num_vertices(graphs_->node);
  const std::int64_t targets = wiring_->gpus_per_node + wiring_->nics_per_node;
  routes.parents.resize(routes.parents.size() + vertices, -1);
  std::vector<std::uint16_t> hops(vertices, kNoWay);
  const Usable usable{&graphs_->node, &dead_, node * wiring_->links_per_node, at(gpu), at(targets)};
  search(graphs_->node, usable, at(gpu), routes.parents.data() + at(gpu) * vertices, hops.data());
  for (std::int64_t target = 0; target < targets; ++target)
    routes.ways[at(gpu * targets + target)].hops = hops[at(target)];
}

// Where no way is direct one GPU may pass messages on: of those with the fewest hops the one whose own NIC it is, and
// where several share the NIC they take turns by the sender's number.
void Router::add_forwarding(NodeRoutes& routes) const {
  const std::int64_t gpus = wiring_->gpus_per_node;
  const std::int64_t targets = gpus + wiring_->nics_per_node;
  const std::int64_t sharing = gpus / wiring_->nics_per_node;
  const std::vector<Way> direct = routes.ways;
  const auto hops = [&](std::int64_t from, std::int64_t to) { return int{direct[at(from * targets + to)].hops}; };
  for (std::int64_t gpu = 0; gpu < gpus; ++gpu) {
    for (std::int64_t target = 0; target < targets; ++target) {
      Way& way = routes.ways[at(gpu * targets + target)];
      if (way.hops != kNoWay) continue;
      auto best = std::tuple<int, bool, std::int64_t>(kNoWay, true, 0);
      for (std::int64_t via = 0; via < gpus; ++via) {
        if (via == gpu || hops(gpu, via) == kNoWay || hops(via, target) == kNoWay) continue;
        const bool foreign = target >= gpus && via / sharing != target - gpus;
        const std::int64_t turn = (via - gpu % sharing + gpus) % sharing;
        const auto candidate = std::tuple(hops(gpu, via) + hops(via, target), foreign, turn);
        if (!(candidate < best)) continue;
        best = candidate;
        way = {static_cast<std::uint16_t>(std::get<0>(candidate)), static_cast<std::int16_t>(via)};
      }
    }
  }
}

void Router::order_nics(NodeRoutes& routes) const {
  const std::int64_t gpus = wiring_->gpus_per_node;
  const std::int64_t nics = wiring_->nics_per_node;
  for (std::int64_t gpu = 0; gpu < gpus; ++gpu) {
    const std::int64_t own = gpu / (gpus / nics);
    std::vector<std::int16_t> order(at(nics));
    std::iota(order.begin(), order.end(), std::int16_t{0});
    const auto key = [&](std::int64_t nic) {
      return std::pair(way(routes, gpu, gpus + nic).hops, (nic - own + nics) % nics);
    };
    std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return key(a) < key(b); });
    routes.nic_order.insert(routes.nic_order.end(), order.begin(), order.end());
  }
}

// Of NICs whose cables all died, and of those that never had one, nobody can make use.
bool Router::works(std::int64_t node, std::int64_t nic) const {
  const std::int64_t id = node * wiring_->nics_per_node + nic;
  const auto ups =
      std::span(graphs_->up)
          .subspan(at(graphs_->up_begin[at(id)]), at(graphs_->up_begin[at(id) + 1] - graphs_->up_begin[at(id)]));
  return std::any_of(ups.begin(), ups.end(), [&](LinkId link) { return !is_dead(link); });
}

std::span<const std::int16_t> Router::nics_for(std::int64_t gpu) {
  const std::int64_t gpus = wiring_->gpus_per_node;
  const std::int64_t nics = wiring_->nics_per_node;
  const std::int64_t node = gpu / gpus;
  if (works(node, gpu % gpus / (gpus / nics)))
    return std::span(routes_of(node).nic_order).subspan(at(gpu % gpus * nics), at(nics));
  const auto [place, is_new] = other_nics_.try_emplace(gpu);
  if (is_new) place->second = other_nics(gpu);
  return place->second;
}

std::vector<std::int16_t> Router::other_nics(std::int64_t gpu) const {
  const std::int64_t gpus = wiring_->gpus_per_node;
  const std::int64_t nics = wiring_->nics_per_node;
  const std::int64_t node = gpu / gpus;
  const std::int64_t own = gpu % gpus / (gpus / nics);
  const NodeRoutes& routes = routes_of(node);
  std::vector<std::int16_t> working;
  std::int64_t shift = 0;  // NICs before the own one that do not work either
  for (std::int64_t nic = 0; nic < nics; ++nic) {
    if (works(node, nic)) working.push_back(static_cast<std::int16_t>(nic));
    else if (nic < own) ++shift;
  }
  if (working.empty()) return {};
  std::rotate(working.begin(), working.begin() + shift % static_cast<std::int64_t>(working.size()), working.end());
  std::stable_sort(working.begin(), working.end(), [&](std::int16_t a, std::int16_t b) {
    return way(routes, gpu % gpus, gpus + a).hops < way(routes, gpu % gpus, gpus + b).hops;
  });
  return working;
}

const Router::NodeRoutes& Router::routes_of(std::int64_t node) const {
  const auto found = damaged_.find(node);
  return found == damaged_.end() ? healthy_ : found->second;
}

const Router::Way& Router::way(const NodeRoutes& routes, std::int64_t gpu, std::int64_t target) const {
  return routes.ways[at(gpu * (wiring_->gpus_per_node + wiring_->nics_per_node) + target)];
}

void Router::append_inside(std::int64_t node, std::int64_t gpu, std::int64_t target, std::vector<LinkId>& route) const {
  const std::int64_t via = way(routes_of(node), gpu, target).via;
  if (via >= 0) append_direct(node, gpu, via, route);
  append_direct(node, via >= 0 ? via : gpu, target, route);
}

void Router::append_direct(std::int64_t node, std::int64_t gpu, std::int64_t target, std::vector<LinkId>& route) const {
  const std::size_t vertices = num_vertices(graphs_->node);
  const std::int32_t* parents = routes_of(node).parents.data() + at(gpu) * vertices;
  const auto begin = static_cast<std::ptrdiff_t>(route.size());
  std::size_t vertex = at(target);
  while (vertex != at(gpu)) {  // parents lead back to the GPU
    const std::int32_t link = parents[vertex];
    FORETOKEN_CHECK(link >= 0, "a way inside a node breaks off");
    route.push_back(LinkId(at(node * wiring_->links_per_node + link)));
    vertex = graphs_->link_source[at(link)];
  }
  std::reverse(route.begin() + begin, route.end());
}

// ---- over the fabric -----------------------------------------------------------------------------------------------

bool Router::find(std::int64_t from, std::int64_t to, std::vector<LinkId>& route) {
  const std::int64_t gpus = wiring_->gpus_per_node;
  if (wiring_->links.empty()) return false;  // a host
  if (from / gpus == to / gpus && way(routes_of(from / gpus), from % gpus, to % gpus).hops != kNoWay) {
    append_inside(from / gpus, from % gpus, to % gpus, route);
    return true;
  }
  return find_over_fabric(from, to, route);
}

bool Router::find_over_fabric(std::int64_t from, std::int64_t to, std::vector<LinkId>& route) {
  const std::int64_t gpus = wiring_->gpus_per_node;
  const std::int64_t nics = wiring_->nics_per_node;
  const std::int64_t from_node = from / gpus;
  const std::int64_t to_node = to / gpus;
  const auto outs = nics_for(from);
  const auto ins = nics_for(to);
  const auto outs_count = static_cast<std::int64_t>(outs.size());
  const auto ins_count = static_cast<std::int64_t>(ins.size());
  const NodeRoutes& leaving = routes_of(from_node);
  const NodeRoutes& arriving = routes_of(to_node);
  const std::uint64_t hash =
      mixed(mixed(mixed(wiring_->fabric.salt) ^ static_cast<std::uint64_t>(from)) ^ static_cast<std::uint64_t>(to));

  // i-th nearest NIC of the sender, j-th nearest of the receiver.
  struct Choice {
    Crossing crossing;
    std::int64_t out = 0;
    std::int64_t in = 0;
  } best;
  const auto consider = [&](std::int64_t i, std::int64_t j) {
    const std::int64_t out = outs[at(i)];
    const std::int64_t in = ins[at(j)];
    if (way(leaving, from % gpus, gpus + out).hops == kNoWay || way(arriving, to % gpus, gpus + in).hops == kNoWay)
      return;
    if (from_node == to_node && out == in) return;
    const Crossing crossing = cross(from_node * nics + out, to_node * nics + in, hash);
    if (crossing.hops < 0 || (best.crossing.hops >= 0 && best.crossing.hops <= crossing.hops)) return;
    best = {crossing, out, in};
  };
  if (wiring_->fabric.pxn) {
    for (std::int64_t j = 0; j < ins_count && best.crossing.hops < 0; ++j)
      for (std::int64_t i = 0; i < outs_count; ++i) consider(i, j);
  } else {
    for (std::int64_t sum = 0; sum < outs_count + ins_count - 1 && best.crossing.hops < 0; ++sum)
      for (std::int64_t i = std::max<std::int64_t>(0, sum - ins_count + 1); i <= std::min(sum, outs_count - 1); ++i)
        consider(i, sum - i);
  }
  if (best.crossing.hops < 0) return false;

  append_inside(from_node, from % gpus, gpus + best.out, route);
  append_crossing(best.crossing, hash, route);
  // Cables die in both directions, so the way from the NIC is the opposite of the way to it.
  std::vector<LinkId> back;
  append_inside(to_node, to % gpus, gpus + best.in, back);
  for (auto link = back.rbegin(); link != back.rend(); ++link) route.push_back(Wiring::opposite(*link));
  return true;
}

Router::Crossing Router::cross(std::int64_t from_nic, std::int64_t to_nic, std::uint64_t hash) {
  const auto ups = [&](std::int64_t nic) {
    return std::span(graphs_->up)
        .subspan(at(graphs_->up_begin[at(nic)]), at(graphs_->up_begin[at(nic) + 1] - graphs_->up_begin[at(nic)]));
  };
  const auto switch_of = [&](LinkId up) { return wiring_->links[up.index()].to.value() - wiring_->first_switch(); };
  Crossing best;
  std::uint64_t equals = 0;
  for (const LinkId down : ups(to_nic)) {
    if (is_dead(down)) continue;
    const std::vector<std::uint16_t>& hops = hops_to(switch_of(down));
    for (const LinkId up : ups(from_nic)) {
      const std::uint16_t between = hops[at(switch_of(up))];
      if (is_dead(up) || between == kNoWay) continue;
      const std::int32_t all = 2 + between;
      if (best.hops >= 0 && all > best.hops) continue;
      equals = all == best.hops ? equals + 1 : 1;
      // Each of the n equals is kept with probability 1/n, as the hash has it.
      if (all == best.hops && mixed(hash + equals) % equals != 0) continue;
      best = {all, up, Wiring::opposite(down)};
    }
  }
  return best;
}

void Router::append_crossing(const Crossing& crossing, std::uint64_t hash, std::vector<LinkId>& route) {
  const auto switch_at = [&](VertexId vertex) { return at(vertex.value() - wiring_->first_switch()); };
  std::size_t here = switch_at(wiring_->links[crossing.up.index()].to);
  const std::size_t last = switch_at(wiring_->links[crossing.down.index()].from);
  const std::vector<std::uint16_t>& hops = hops_to(static_cast<std::int64_t>(last));
  route.push_back(crossing.up);
  std::vector<LinkId> equals;
  while (here != last) {
    equals.clear();
    for (auto [edge, end] = out_edges(here, graphs_->fabric); edge != end; ++edge) {
      const LinkId link = graphs_->fabric[*edge].link;
      if (!is_dead(link) && hops[target(*edge, graphs_->fabric)] + 1 == hops[here]) equals.push_back(link);
    }
    FORETOKEN_CHECK(!equals.empty(), "a way over the fabric breaks off");
    hash = mixed(hash);
    route.push_back(equals[hash % equals.size()]);
    here = switch_at(wiring_->links[route.back().index()].to);
  }
  route.push_back(crossing.down);
}

// Cables go both ways, so the hops from a switch to all others are those from all others to it.
const std::vector<std::uint16_t>& Router::hops_to(std::int64_t fabric_switch) {
  const auto known = hops_.find(fabric_switch);
  if (known != hops_.end()) return known->second;
  const std::size_t switches = at(wiring_->switches);
  if ((hops_.size() + 1) * switches > kHopsStoredMax) hops_.clear();
  std::vector<std::uint16_t>& hops = hops_[fabric_switch];
  hops.assign(switches, kNoWay);
  search(graphs_->fabric, Usable{&graphs_->fabric, &dead_, 0, at(fabric_switch), 0}, at(fabric_switch), nullptr,
         hops.data());
  return hops;
}

}  // namespace foretoken::plan
