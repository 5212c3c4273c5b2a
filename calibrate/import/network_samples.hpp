// Published network measurements, read into samples: what was run, on how many GPUs and nodes, how long it took.
//
// Each reader takes one layout of file. Foreign columns and keys that it does not need are ignored; the ones it needs
// are checked, and a damaged line is an Error that names file and line (CSV) or JSON pointer.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "core/units.hpp"

namespace foretoken::calibrate {

/// Bytes as in sim::NetworkCost::collective.
struct CollectiveSample {
  std::string group;  // what distinguishes rows of one file: data type, kernel or run
  CollectiveOp op = CollectiveOp::all_reduce;
  int ranks = 0;
  int nodes = 0;
  Bytes bytes;
  Seconds time;
};

/// DeepEP kernels: every rank sends its tokens to top_k experts each, drawn uniformly.
struct ExchangeSample {
  std::string group;
  int ranks = 0;
  int nodes = 0;
  int hidden = 0;
  int tokens = 0;  // per rank
  int top_k = 0;
  int experts = 0;   // over all ranks
  Seconds dispatch;  // FP8; zero if not measured
  Seconds combine;   // BF16; zero if not measured
  int sms = 0;       // that the kernels have; 0: low-latency kernels, which take what they need
};

struct MessageSample {
  bool across_nodes = false;
  Bytes bytes;
  Seconds time;
};

/// nccl-tests in one node, one row per op, dtype, num_gpus, bytes; latency_ms. Group: the dtype.
std::vector<CollectiveSample> read_nccl_table(const std::filesystem::path& path);

/// nccl-tests runs as JSON rows (run, collective, gpus, nodes, size_B, oop_time_us). Group: the run. Rows of other
/// operations, without a size or of reliability X are left out.
std::vector<CollectiveSample> read_nccl_runs(const std::filesystem::path& path);

/// All-reduce kernels of serving frameworks in one node (kernel, num_gpus, bytes, latency_ms). Group: the kernel.
std::vector<CollectiveSample> read_custom_all_reduce(const std::filesystem::path& path);

/// DeepEP low-latency tables; 8 ranks per node. Group: `group`.
std::vector<ExchangeSample> read_deepep_low_latency(const std::filesystem::path& path, const std::string& group);

/// DeepEP tables of the kernels that send a token once per node; 8 ranks per node. Times are of notifying and of
/// transmitting together. Group: `group`.
std::vector<ExchangeSample> read_deepep_normal(const std::filesystem::path& path, const std::string& group);

/// Low-latency rows of DeepEP's own README as JSON rows. Group: the row's library.
std::vector<ExchangeSample> read_deepep_rows(const std::filesystem::path& path);

/// vidur's send/recv between two GPUs; one device per node means across nodes. Medians.
std::vector<MessageSample> read_vidur_send_recv(const std::filesystem::path& path);

/// vidur's all-reduce in one node. Medians. Group: "vidur".
std::vector<CollectiveSample> read_vidur_all_reduce(const std::filesystem::path& path);

/// The value of the one JSON row whose "metric" and "gpu" are these; of a range with a typical value, that one.
/// @throws Error{invalid_input} if no row or several match, or the value is no positive number
double read_point(const std::filesystem::path& path, std::string_view metric, std::string_view gpu);

/// Bytes of one row that a token sends to one expert: sim::token_row_bytes of the low-latency kernels, FP8 and BF16.
Bytes dispatch_row_bytes(int hidden);
Bytes combine_row_bytes(int hidden);

}  // namespace foretoken::calibrate
