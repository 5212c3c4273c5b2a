// From a Topology to a Machine: vertices and links in pairs, then shortest-path trees by Boost.Graph.
#include <boost/graph/breadth_first_search.hpp>
#include <boost/graph/compressed_sparse_row_graph.hpp>
#include <boost/graph/filtered_graph.hpp>
#include <boost/property_map/property_map.hpp>
#include <memory>
#include <utility>

#include "core/error.hpp"
#include "plan/machine/machine_impl.hpp"
#include "plan/machine/topology.hpp"

namespace foretoken::plan {
namespace {

struct EdgeLink {
  LinkId link;
};
using Graph = boost::compressed_sparse_row_graph<boost::directedS, boost::no_property, EdgeLink>;
using Edge = boost::graph_traits<Graph>::edge_descriptor;

Graph graph_of(const std::vector<Link>& links, std::size_t vertices) {
  std::vector<std::pair<std::size_t, std::size_t>> ends;
  std::vector<EdgeLink> properties;
  ends.reserve(links.size());
  properties.reserve(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    ends.emplace_back(links[i].from.index(), links[i].to.index());
    properties.push_back({LinkId(i)});
  }
  return Graph(boost::edges_are_unsorted_multi_pass, ends.begin(), ends.end(), properties.begin(), vertices);
}

/// Keeps the links of one node apart from those of the others.
struct InsideNode {
  const Graph* graph = nullptr;
  const std::vector<Link>* links = nullptr;
  bool operator()(const Edge& edge) const {
    return (*links)[(*graph)[edge].link.index()].link_class != LinkClass::infiniband;
  }
};

/// Notes for every vertex the link by which breadth-first search, and so a path of fewest hops, first reaches it. Among
/// equals that is the link that was added first.
class RecordParents : public boost::default_bfs_visitor {
 public:
  RecordParents(std::vector<LinkId>& parents, const Graph& all) : parents_(&parents), all_(&all) {}
  template <class SomeGraph>
  void tree_edge(const Edge& edge, const SomeGraph& graph) const {
    (*parents_)[target(edge, graph)] = (*all_)[edge].link;
  }

 private:
  std::vector<LinkId>* parents_;
  const Graph* all_;
};

void find_trees(Machine::Impl& machine) {
  const std::size_t vertices = machine.vertices();
  const Graph graph = graph_of(machine.links, vertices);
  const auto index = get(boost::vertex_index, graph);

  machine.from_fabric.assign(vertices, LinkId());
  boost::breadth_first_search(graph, machine.fabric_vertex().index(),
                              boost::visitor(RecordParents(machine.from_fabric, graph)));

  // Without the fabric's links each node is a component of its own, so the searches share their marks and together cost
  // one pass over the graph.
  const boost::filtered_graph<Graph, InsideNode> inside(graph, InsideNode{&graph, &machine.links});
  machine.from_switch.assign(vertices, LinkId());
  std::vector<boost::default_color_type> colors(vertices, boost::white_color);
  const auto color_of = boost::make_iterator_property_map(colors.begin(), index);
  for (std::int64_t node = 0; node < machine.nodes; ++node) {
    boost::queue<std::size_t> pending;
    boost::breadth_first_visit(inside, machine.switch_vertex(node).index(), pending,
                               RecordParents(machine.from_switch, graph), color_of);
  }
}

}  // namespace

Machine build_machine(const Topology& topology) {
  FORETOKEN_CHECK(topology.nodes >= 1 && topology.nodes <= kNodesMax, "a machine with an absurd number of nodes");
  const std::int64_t per_node_max = topology.cores_per_node > 0 ? kRanksPerHostMax : kGpusPerNodeMax;
  FORETOKEN_CHECK(topology.gpus_per_node >= 1 && topology.gpus_per_node <= per_node_max,
                  "a machine with an absurd number of GPUs per node");
  FORETOKEN_CHECK(topology.nodes * topology.gpus_per_node <= kGpusMax, "a machine with an absurd number of GPUs");

  auto machine = std::make_shared<Machine::Impl>();
  machine->name = topology.name;
  machine->device = topology.device;
  machine->nodes = topology.nodes;
  machine->gpus_per_node = topology.gpus_per_node;
  machine->gpus = topology.nodes * topology.gpus_per_node;
  machine->nvls = topology.nvls;
  machine->cores_per_node = topology.cores_per_node;
  machine->links.reserve(static_cast<std::size_t>(6 * machine->gpus));
  if (machine->cores_per_node > 0) {  // ranks reach one another through memory
    find_trees(*machine);
    return Machine(std::move(machine));
  }
  const auto connect = [&](VertexId a, VertexId b, LinkClass link_class, BytesPerSecond bandwidth, Seconds latency) {
    machine->links.push_back({a, b, link_class, bandwidth, latency});
    machine->links.push_back({b, a, link_class, bandwidth, latency});
  };
  for (std::int64_t gpu = 0; gpu < machine->gpus; ++gpu) {
    const VertexId here = machine->gpu_vertex(gpu);
    const VertexId nic = machine->nic_vertex(gpu);
    connect(here, machine->switch_vertex(gpu / machine->gpus_per_node), LinkClass::nvlink, topology.nvlink_bandwidth,
            topology.nvlink_latency);
    connect(here, nic, LinkClass::pcie, topology.pcie_bandwidth, topology.pcie_latency);
    connect(nic, machine->fabric_vertex(), LinkClass::infiniband, topology.nic_bandwidth, topology.nic_latency);
  }
  find_trees(*machine);
  return Machine(std::move(machine));
}

}  // namespace foretoken::plan
