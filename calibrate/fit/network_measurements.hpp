// All network measurements of a fit, and which of them show what.
#pragma once

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <vector>

#include "calibrate/import/network_samples.hpp"

namespace foretoken::calibrate {

struct NetworkMeasurements {
  std::vector<CollectiveSample> table;    // nccl-tests, one node
  std::vector<CollectiveSample> runs;     // nccl-tests, several nodes
  std::vector<CollectiveSample> kernels;  // all-reduce kernels of serving frameworks
  std::vector<CollectiveSample> vidur;
  std::vector<MessageSample> messages;
  std::vector<ExchangeSample> one_node;  // low-latency kernels
  std::vector<ExchangeSample> legacy;    // the same of an older library, one and two nodes
  std::vector<ExchangeSample> readme;
  std::vector<ExchangeSample> normal;         // kernels that send a token once per node
  std::vector<ExchangeSample> normal_legacy;  // the same of an older library, one and two nodes
};

/// @throws Error{invalid_input} naming file and place for missing or damaged files
NetworkMeasurements read_network_measurements(const std::filesystem::path& sources);

template <class Sample, class Keep>
std::vector<Sample> keep(const std::vector<Sample>& samples, const Keep& condition) {
  std::vector<Sample> out;
  std::copy_if(samples.begin(), samples.end(), std::back_inserter(out), condition);
  return out;
}

/// floor(log2(bytes)); 0 for none.
int octave(Bytes bytes);
/// Every other power of two, so that a fit has to bridge a factor of two or four.
bool odd_size(Bytes bytes);

/// Rows of one run of nccl-tests.
std::vector<CollectiveSample> rows_of_run(const std::vector<CollectiveSample>& samples, std::string_view name);

/// What NCCL takes for the sample's collective by itself. int8 is what NVLS cannot reduce.
CollectiveAlgorithm algorithm_of(const CollectiveSample& sample);

/// Of two sorts of rows: DeepEP's low-latency kernels have a thread block for every expert, up to the number of SMs.
/// With 8 or 16 experts they are short of blocks, from 128 on of bandwidth.
bool enough_experts(const ExchangeSample& sample);

/// The run of nccl-tests on two nodes with NCCL's own choice, without the rows whose times are of warming up: 8 and
/// 256 bytes take 2 to 3 times as long as their neighbours, and as they themselves do in place.
std::vector<CollectiveSample> two_nodes_by_choice(const NetworkMeasurements& all);

}  // namespace foretoken::calibrate
