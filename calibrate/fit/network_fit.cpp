#include "calibrate/fit/network_fit.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string_view>
#include <utility>

#include "calibrate/fit/network_families.hpp"
#include "calibrate/fit/network_hold_outs.hpp"
#include "calibrate/fit/network_measurements.hpp"

namespace foretoken::calibrate {
namespace {

using Algorithm = CollectiveAlgorithm;
using sim::ExchangeOp;
using sim::NetworkCost;

// Above this the frameworks' own all-reduce kernels hand over to NCCL.
constexpr Bytes kDirectBytesMax{std::int64_t{4} << 20};

/// What the links carry, from point measurements.
void set_links(NetworkCalibration& network, const std::filesystem::path& points) {
  constexpr double bits_per_byte = 8.0;
  const auto set = [](LinkCalibration& link, double payload_gbps, const char* source) {
    link.payload_efficiency = payload_gbps * 1e9 / link.nominal.value();
    link.provenance = Provenance::measured;
    link.source = source;
  };
  set(network.nvlink, read_point(points, "unidirectional NVLink P2P writes", "H100 SXM HGX"), "nvlink-p2p");
  set(network.infiniband, read_point(points, "ib_write_bw", "H100 + CX-7 400G") / bits_per_byte, "infiniband-perftest");
  // From the device: what a NIC behind the PCIe switch reads from the GPU.
  set(network.pcie, read_point(points, "device->host SM copy", "H100"), "nvbandwidth-pcie");
}

}  // namespace

NetworkFit fit_network(const std::filesystem::path& sources, int sms, const FoldOptions& folds) {
  const NetworkMeasurements all = read_network_measurements(sources);
  NetworkReport report;
  NetworkCalibration network = network_first_guess();
  // Not a combine: with blocks of its own, shapes held out come out a little nearer (few experts: 4 to 5 % instead of 7
  // to 8), but few experts predicted from many far worse (41 % instead of 7): its rows do not tell blocks from links.
  network.dispatch.blocks = ExchangeBlocks{Seconds(1e-6), BytesPerSecond(20e9), sms};
  set_links(network, sources / "04_compute_memory_network.json");
  std::vector<NetworkScore> scores = score_network(all, network);

  const auto by_nvls = [](const CollectiveSample& s) { return algorithm_of(s) == Algorithm::nvls; };
  const std::vector<CollectiveSample> ring = keep(all.table, std::not_fn(by_nvls));
  const std::vector<CollectiveSample> nvls = keep(all.table, by_nvls);
  hold_out_ring(report, network, ring);
  fit_ring(network, ring);
  report.add("ring", "all rows, one node", false, NetworkCost(network), Algorithm::ring, ring);
  network.ring.source = "aic-nccl";

  const std::vector<CollectiveSample> two_nodes = rows_of_run(all.runs, "n309_gjaion_2node_ring");
  hold_out_sizes(report, {"ring 2 nodes", Algorithm::ring, fit_ring_across_nodes}, network, two_nodes);
  fit_ring_across_nodes(network, two_nodes);
  report.add("ring 2 nodes", "all rows", false, NetworkCost(network), Algorithm::ring, two_nodes);

  const std::vector<CollectiveSample> by_choice = two_nodes_by_choice(all);
  const auto by_tree = [](const CollectiveSample& s) { return algorithm_of(s) == Algorithm::tree; };
  const std::vector<CollectiveSample> tree = keep(by_choice, by_tree);
  const std::vector<CollectiveSample> nvls_tree = keep(by_choice, std::not_fn(by_tree));
  hold_out_sizes(report, {"tree 2 nodes", Algorithm::tree, fit_tree}, network, tree);
  fit_tree(network, tree);
  network.tree->source = "nccl-tests-309-default";
  report.add("tree 2 nodes", "all rows", false, NetworkCost(network), Algorithm::tree, tree);
  hold_out_sizes(report, {"nvls_tree 2 nodes", Algorithm::nvls_tree, fit_nvls_tree}, network, nvls_tree);
  fit_nvls_tree(network, nvls_tree);
  network.nvls_tree->source = "nccl-tests-309-default";
  report.add("nvls_tree 2 nodes", "all rows", false, NetworkCost(network), Algorithm::nvls_tree, nvls_tree);
  report.add("nvls_tree 2 nodes", "another cluster", true, NetworkCost(network), Algorithm::nvls_tree,
             rows_of_run(all.runs, "n309_gjaion_2of8node"));

  hold_out_sizes(report, {"nvls all_reduce", Algorithm::nvls, fit_nvls}, network, nvls);
  fit_nvls(network, nvls);
  network.nvls.source = "aic-nccl";
  report.add("nvls all_reduce", "all rows", false, NetworkCost(network), Algorithm::nvls, nvls);

  const auto direct_rows = [&](std::string_view kernel) {
    return keep(rows_of_run(all.kernels, kernel), [](const CollectiveSample& s) { return s.bytes <= kDirectBytesMax; });
  };
  const std::vector<CollectiveSample> direct = direct_rows("SGLang_CustomAllReduce_graph");
  hold_out_sizes(report, {"direct all_reduce", Algorithm::direct, fit_direct}, network, direct);
  fit_direct(network, direct);
  network.direct.source = "aic-custom-all-reduce";
  report.add("direct all_reduce", "all rows", false, NetworkCost(network), Algorithm::direct, direct);
  for (const char* other : {"vLLM_custom_graph", "TRTLLM"}) {
    report.add("direct all_reduce", other, true, NetworkCost(network), Algorithm::direct, direct_rows(other));
  }

  hold_out_exchange(report, network, all.one_node);
  fit_exchange_in_node(network, all.one_node);
  report.add("1 node, all rows", false, NetworkCost(network), all.one_node);
  const auto across = [](const ExchangeSample& s) { return s.nodes > 1; };
  report.add("1 node, older library", true, NetworkCost(network), keep(all.legacy, std::not_fn(across)));

  const std::vector<ExchangeSample> legacy_two_nodes = keep(all.legacy, across);
  hold_out_exchange_across(report, network, legacy_two_nodes);
  fit_exchange_across_nodes(network, legacy_two_nodes);
  report.add("2 nodes, all rows", false, NetworkCost(network), legacy_two_nodes);
  report.add("4 nodes of H800, same NIC", true, NetworkCost(network),
             keep(all.readme, [&](const ExchangeSample& s) { return across(s) && s.group == "DeepEP V1"; }));
  const auto [fewest, most] = std::minmax_element(all.one_node.begin(), all.one_node.end(),
                                                  [](const auto& a, const auto& b) { return a.experts < b.experts; });
  for (ExchangeCalibration* exchange : {&network.dispatch, &network.combine}) {
    exchange->queues_min = fewest->experts;
    exchange->queues_max = most->experts;
  }
  network.dispatch.source = "deepep-one-node";
  network.combine.source = "deepep-one-node";

  const std::vector<ExchangeSample> normal_two_nodes = keep(all.normal_legacy, across);
  hold_out_hierarchical(report, network, all.normal, normal_two_nodes, folds);
  fit_hierarchical_in_node(network, all.normal);
  fit_hierarchical_across_nodes(network, normal_two_nodes);
  report.add("normal, 1 node, all rows", false, NetworkCost(network), all.normal);
  report.add("normal, 1 node, older library", true, NetworkCost(network), keep(all.normal_legacy, std::not_fn(across)));
  report.add("normal, 2 nodes, all rows", false, NetworkCost(network), normal_two_nodes);
  network.hierarchical_dispatch->source = "deepep-normal";
  network.hierarchical_combine->source = "deepep-normal";

  hold_out_messages(report, network, all.messages, folds);
  fit_messages(network, all.messages);
  network.message_in_node.source = "vidur-send-recv";
  network.message_across_nodes.source = "vidur-send-recv";

  // Another machine and another way of timing (a framework's, medians of 3): kept out of the fit, shown beside it.
  report.add("ring all_reduce", "vidur's machine", true, NetworkCost(network), Algorithm::ring,
             keep(all.vidur, std::not_fn(by_nvls)));
  report.add("nvls all_reduce", "vidur's machine", true, NetworkCost(network), Algorithm::nvls,
             keep(all.vidur, by_nvls));

  const std::string aiconfigurator = "github.com/ai-dynamo/aiconfigurator@095f58a51c, h100_sxm/comm/";
  const std::string deepep_note = "DeepEP V1 low-latency kernels, FP8 dispatch and BF16 combine; ";
  NetworkFit fit;
  fit.sources = {
      {"aic-nccl", aiconfigurator + "nccl/2.27.3", "Apache-2.0", std::ssize(all.table),
       "nccl-tests, NCCL 2.27.3, one node of 8 H100 SXM: all_gather on 2, 4 and 8, all_reduce on 2 and 8. half on 8 "
       "ranks above 16 MiB speaks for NVLS, every other row for the ring"},
      {"nccl-tests-309", "github.com/NVIDIA/nccl-tests/issues/309, run with NCCL_ALGO=Ring", "public issue thread",
       std::ssize(two_nodes), "16 H100 SXM on 2 nodes, 8 x 400 Gb/s InfiniBand each; fixes ring.network_step_latency"},
      {"nccl-tests-309-default", "github.com/NVIDIA/nccl-tests/issues/309, NCCL 2.26.2 by its own choice",
       "public issue thread", std::ssize(by_choice),
       "16 H100 SXM on 2 nodes, 8 x 400 Gb/s InfiniBand each; up to 512 KiB taken for a tree, above for NVLS with "
       "trees. 2 nodes flatter a tree: more of them load each NIC twice as much, which is derived, not measured"},
      {"aic-custom-all-reduce", aiconfigurator + "sglang/0.5.14", "Apache-2.0", std::ssize(direct),
       "SGLang's custom all-reduce inside a CUDA graph, 2 and 8 H100, up to 4 MiB"},
      {"deepep-one-node", aiconfigurator + "sglang/0.5.12", "Apache-2.0", std::ssize(all.one_node),
       deepep_note + "8 H100 in one node"},
      {"deepep-two-nodes", aiconfigurator + "sglang/0.5.6.post2", "Apache-2.0", std::ssize(legacy_two_nodes),
       deepep_note + "16 GPUs on 2 nodes, H100 or H200 (the table does not say); fixes latency_across_nodes and "
                     "rate_across_nodes of dispatch and combine"},
      {"deepep-normal", aiconfigurator + "sglang/0.5.12 and 0.5.6.post2", "Apache-2.0",
       std::ssize(all.normal) + std::ssize(normal_two_nodes),
       "DeepEP V1 normal kernels, FP8 dispatch and BF16 combine on 4 to 24 SMs, notifying included; 8 H100 in one "
       "node, and 16 GPUs on 2 nodes, H100 or H200, which fix what goes across"},
      {"vidur-send-recv", "github.com/microsoft/vidur@7d47513, data/profiling/network/h100_dgx", "MIT",
       std::ssize(all.messages),
       "medians of 3 on another DGX H100; between nodes one message reaches 36 GB/s of the 49 that a NIC carries"},
      {"nvlink-p2p", "github.com/NVIDIA/nccl/issues/1264", "public issue thread", 1,
       "unidirectional NVLink P2P writes, H100 SXM: typically 376 GB/s of 450"},
      {"infiniband-perftest", "github.com/NVIDIA/nccl/issues/2409", "public issue thread", 1,
       "ib_write_bw, ConnectX-7: 392 Gb/s of 400"},
      {"nvbandwidth-pcie", "github.com/NVIDIA/nvbandwidth/issues/24", "public issue thread", 1,
       "device to host copy by SMs, H100: 52.77 GB/s of the 64 of PCIe 5 x16; host to device was 35.2"},
  };
  fit.calibration = std::move(network);
  fit.residuals = report.residuals();
  fit.coverage = report.coverage();
  fit.scores = std::move(scores);
  return fit;
}

}  // namespace foretoken::calibrate
