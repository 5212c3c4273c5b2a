#include "calibrate/fit/network_measurements.hpp"

namespace foretoken::calibrate {

NetworkMeasurements read_network_measurements(const std::filesystem::path& sources) {
  NetworkMeasurements all;
  all.table = read_nccl_table(sources / "aic_nccl_h100.csv");
  all.runs = read_nccl_runs(sources / "01_nccl.json");
  all.kernels = read_custom_all_reduce(sources / "aic_custom_allreduce_h100.csv");
  all.vidur = read_vidur_all_reduce(sources / "vidur_h100_dgx_all_reduce.csv");
  all.messages = read_vidur_send_recv(sources / "vidur_h100_dgx_send_recv.csv");
  all.one_node = read_deepep_low_latency(sources / "aic_deepep_ll_h100_1node_0.5.12.csv", "sglang 0.5.12");
  all.legacy = read_deepep_low_latency(sources / "aic_deepep_ll_legacy_1-2node.csv", "sglang 0.5.6");
  all.readme = read_deepep_rows(sources / "02_ep_alltoall.json");
  all.normal = read_deepep_normal(sources / "aic_deepep_normal_h100_1node_0.5.12.csv", "sglang 0.5.12");
  all.normal_legacy = read_deepep_normal(sources / "aic_deepep_normal_legacy_1-2node.csv", "sglang 0.5.6");
  return all;
}

int octave(Bytes bytes) {
  int log2 = 0;
  for (std::int64_t rest = bytes.value(); rest > 1; rest /= 2) ++log2;
  return log2;
}

bool odd_size(Bytes bytes) { return octave(bytes) % 2 == 1; }

std::vector<CollectiveSample> rows_of_run(const std::vector<CollectiveSample>& samples, std::string_view name) {
  return keep(samples, [&](const CollectiveSample& sample) { return sample.group == name; });
}

CollectiveAlgorithm algorithm_of(const CollectiveSample& sample) {
  if (sample.op != CollectiveOp::all_reduce) return CollectiveAlgorithm::ring;
  return choose_all_reduce(sample.ranks, sample.nodes, sample.bytes, sample.group != "int8");
}

bool enough_experts(const ExchangeSample& sample) {
  constexpr int experts_min = 128;
  return sample.experts >= experts_min;
}

std::vector<CollectiveSample> two_nodes_by_choice(const NetworkMeasurements& all) {
  return keep(rows_of_run(all.runs, "n309_qoofyk_2node"),
              [](const CollectiveSample& s) { return s.bytes != Bytes(8) && s.bytes != Bytes(256); });
}

}  // namespace foretoken::calibrate
