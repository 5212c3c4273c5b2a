// SimGrid on an all-to-all of tests/sim/network/all_to_all.hpp. A program of its own: SimGrid is linked here alone.
//
//   simgrid_all_to_all --ranks N --nodes-per-leaf L --workload U|K|Z --times FILE
//
// Used as is fair to it, so that it solves the same problem, and as fast as it can:
//   - links have no latency, and senders wait instead: it would weight flows by 1 / latency;
//   - CM02 without cross traffic and without a window's limit: ideal max-min shares;
//   - its fastest actors (raw contexts), two a rank; one mailbox a rank, whose receives are posted beforehand, so that
//   a
//     message matches the first in the queue; senders wait for what they sent: detached messages, and those of
//     sendto_async, are kept in one list, which every completion searches from its head;
//   - zones for nodes and leaves, so that routes are a few per rank and not one per pair. A router placed directly in
//   the
//     common ancestor of two hosts is not found by its routing: the gateway of a leaf lives in a zone of its own.
#include <simgrid/s4u.hpp>

#include "tests/bench/measured.hpp"
#include "tests/sim/network/all_to_all.hpp"

namespace foretoken::bench {
namespace {

using sim::AllToAllCase;
using sim::PathKind;
namespace sg4 = simgrid::s4u;
using NetPoint = simgrid::kernel::routing::NetPoint;

struct Cluster {
  std::vector<sg4::Host*> hosts;
  std::vector<sg4::Mailbox*> mailboxes;
};

sg4::Link* shared_link(sg4::NetZone* zone, const std::string& name, double bandwidth) {
  return zone->create_link(name, bandwidth)->set_latency(0)->seal();
}

std::vector<sg4::LinkInRoute> route(std::initializer_list<sg4::Link*> links) {
  std::vector<sg4::LinkInRoute> list;
  for (sg4::Link* link : links) list.emplace_back(link);
  return list;
}

// A node: NVLink between its hosts, NICs between them and its gateway.
NetPoint* add_node(sg4::NetZone* parent, std::int64_t node, Cluster& cluster, sg4::NetZone** zone_out) {
  const std::string name = "node" + std::to_string(node);
  sg4::NetZone* zone = sg4::create_full_zone(name)->set_parent(parent);
  NetPoint* gateway = zone->create_router(name + "_gateway");
  std::vector<sg4::Host*> hosts;
  std::vector<sg4::Link*> up, down;
  for (std::int64_t g = 0; g < AllToAllCase::kGpus; ++g) {
    const std::string rank = std::to_string(node * AllToAllCase::kGpus + g);
    sg4::Host* host = zone->create_host("rank" + rank, 1e9)->seal();
    hosts.push_back(host);
    up.push_back(shared_link(zone, "nvlink_up" + rank, AllToAllCase::kNvlink));
    down.push_back(shared_link(zone, "nvlink_down" + rank, AllToAllCase::kNvlink));
    sg4::Link* out = shared_link(zone, "nic_out" + rank, AllToAllCase::kNic);
    sg4::Link* in = shared_link(zone, "nic_in" + rank, AllToAllCase::kNic);
    zone->add_route(host->get_netpoint(), gateway, nullptr, nullptr, route({out}), false);
    zone->add_route(gateway, host->get_netpoint(), nullptr, nullptr, route({in}), false);
  }
  for (std::size_t a = 0; a < hosts.size(); ++a) {
    for (std::size_t b = 0; b < hosts.size(); ++b) {
      if (a == b) continue;
      zone->add_route(hosts[a]->get_netpoint(), hosts[b]->get_netpoint(), nullptr, nullptr, route({up[a], down[b]}),
                      false);
    }
  }
  zone->seal();
  cluster.hosts.insert(cluster.hosts.end(), hosts.begin(), hosts.end());
  *zone_out = zone;
  return gateway;
}

Cluster build(const AllToAllCase& exchange) {
  Cluster cluster;
  const std::int64_t nodes = exchange.ranks / AllToAllCase::kGpus;
  sg4::NetZone* root = sg4::create_star_zone("root");
  sg4::NetZone* node_zone = nullptr;
  if (exchange.nodes_per_leaf == 0) {
    for (std::int64_t node = 0; node < nodes; ++node) {
      NetPoint* gateway = add_node(root, node, cluster, &node_zone);
      root->add_route(node_zone->get_netpoint(), nullptr, gateway, nullptr, {}, true);
    }
  }
  for (std::int64_t leaf = 0; leaf < exchange.leaves(); ++leaf) {
    const std::string name = "leaf" + std::to_string(leaf);
    sg4::NetZone* zone = sg4::create_star_zone(name)->set_parent(root);
    sg4::NetZone* exit = sg4::create_full_zone(name + "_exit")->set_parent(zone);
    NetPoint* gateway = exit->create_router(name + "_gateway");
    exit->seal();
    zone->add_route(exit->get_netpoint(), nullptr, gateway, nullptr, {}, true);
    for (std::int64_t node = leaf * exchange.nodes_per_leaf; node < (leaf + 1) * exchange.nodes_per_leaf; ++node) {
      NetPoint* node_gateway = add_node(zone, node, cluster, &node_zone);
      zone->add_route(node_zone->get_netpoint(), nullptr, node_gateway, nullptr, {}, true);
    }
    zone->seal();
    sg4::Link* up = shared_link(root, "trunk_up" + std::to_string(leaf), exchange.trunk());
    sg4::Link* down = shared_link(root, "trunk_down" + std::to_string(leaf), exchange.trunk());
    root->add_route(zone->get_netpoint(), nullptr, gateway, nullptr, route({up}), false);
    root->add_route(nullptr, zone->get_netpoint(), nullptr, gateway, route({down}), false);
  }
  root->seal();
  for (std::int64_t rank = 0; rank < exchange.ranks; ++rank)
    cluster.mailboxes.push_back(sg4::Mailbox::by_name("to" + std::to_string(rank)));
  return cluster;
}

void receive_all(const AllToAllCase& exchange, sg4::Mailbox* mailbox) {
  const auto count = static_cast<std::size_t>(exchange.ranks - 1);
  std::vector<double*> place(count, nullptr);  // what a message brings: where its time is to be noted
  std::vector<sg4::CommPtr> comms;
  comms.reserve(count);
  for (std::size_t c = 0; c < count; ++c) comms.push_back(mailbox->get_async<double>(&place[c]));
  for (std::size_t c = 0; c < count; ++c) {
    comms[c]->wait();
    *place[c] = comms[c]->get_finish_time();
    comms[c] = nullptr;
  }
}

void send_all(const AllToAllCase& exchange, std::int64_t from, const Cluster& cluster, std::vector<double>* times) {
  std::vector<sg4::CommPtr> comms;
  comms.reserve(static_cast<std::size_t>(exchange.ranks - 1));
  for (const PathKind path : {PathKind::nvlink, PathKind::leaf, PathKind::tree}) {
    sg4::this_actor::sleep_until(AllToAllCase::start(path));
    for (std::int64_t to = 0; to < exchange.ranks; ++to) {
      if (to == from || exchange.path(from, to) != path) continue;
      const auto index = static_cast<std::size_t>(from * (exchange.ranks - 1) + to - (to > from ? 1 : 0));
      comms.push_back(cluster.mailboxes[static_cast<std::size_t>(to)]->put_async(
          &(*times)[index], static_cast<std::uint64_t>(exchange.bytes(from, to))));
    }
  }
  for (sg4::CommPtr& comm : comms) {
    comm->wait();
    comm = nullptr;
  }
}

int run(int argc, char** argv) {
  const AllToAllCase exchange{std::stoll(argument(argc, argv, "--ranks", "16")),
                              std::stoll(argument(argc, argv, "--nodes-per-leaf", "0")),
                              argument(argc, argv, "--workload", "U").at(0)};
  const std::string file = argument(argc, argv, "--times", "");
  std::vector<std::string> settings{"simgrid",
                                    "--log=root.thresh:critical",
                                    "--cfg=network/model:CM02",
                                    "--cfg=network/crosstraffic:0",
                                    "--cfg=network/TCP-gamma:0",
                                    "--cfg=maxmin/precision:1e-12",
                                    "--cfg=surf/precision:1e-15",
                                    "--cfg=contexts/factory:raw"};
  std::vector<char*> pointers;
  for (std::string& setting : settings) pointers.push_back(setting.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(settings.size());
  sg4::Engine engine(&count, pointers.data());

  const std::int64_t memory_before = peak_memory();
  const Cluster cluster = build(exchange);
  std::vector<double> times(static_cast<std::size_t>(exchange.flows()), 0);
  for (std::int64_t rank = 0; rank < exchange.ranks; ++rank) {
    const auto r = static_cast<std::size_t>(rank);
    sg4::Actor::create("receiver", cluster.hosts[r], [&, r] { receive_all(exchange, cluster.mailboxes[r]); });
    sg4::Actor::create("sender", cluster.hosts[r], [&, rank] { send_all(exchange, rank, cluster, &times); });
  }
  const double begin = cpu_seconds();
  engine.run();
  print("cpu_s", cpu_seconds() - begin);
  print("peak_bytes", static_cast<double>(peak_memory()));
  print("grown_bytes", static_cast<double>(peak_memory() - memory_before));
  if (!file.empty()) write_times(file, times);
  return 0;
}

}  // namespace
}  // namespace foretoken::bench

int main(int argc, char** argv) { return foretoken::bench::run(argc, argv); }
