// What NCCL says of itself in its log: which algorithm, protocol and channels it took for a collective; and that beside
// what the plan names.
//
// Read from NCCL_DEBUG=INFO NCCL_DEBUG_SUBSYS=TUNING. Rank 0 of a communicator writes a line per collective:
//
//   since 2.24  AllReduce: 8388608 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..23}     (src/enqueue.cc)
//   since 2.27  AllReduce [Symmetric]: 8388608 Bytes -> Kernel AllReduce_… nchannels 16 nthreads 512 …
//   2.23        AllReduce: 8388608 Bytes -> Algo 1 proto 2 time 104.2
//   2.20-2.22   8388608 Bytes -> Algo 1 proto 2 time 104.2
//
// 2.19 writes none. Bytes are what one rank gives: of an all-gather and a reduce-scatter one rank's part. Grouped sends
// and receives, and so an all-to-all, have no algorithm and no line.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/collective_algorithm.hpp"
#include "plan/plan.hpp"

namespace foretoken::runtime::cuda {

struct NcclChoice {
  std::string collective;  ///< NCCL's word: "AllReduce"; empty where it does not say
  std::int64_t bytes = 0;
  std::string algorithm;  ///< NCCL's word in lower case: "ring", "tree", "nvls", "nvls_tree", "collnet_direct", "pat";
                          ///< of a symmetric kernel "symmetric"
  std::string protocol;   ///< "simple", "ll", "ll128"; of a symmetric kernel its name
  std::int64_t channels = 0;  ///< 0: it does not say
  std::int64_t times = 1;     ///< lines that say so
  auto operator<=>(const NcclChoice&) const = default;
};

/// All that the log says, equal lines as one, in the order in which they first appear. Other lines are passed over.
std::vector<NcclChoice> parse_nccl_choices(std::string_view log);

/// The plan's algorithm of NCCL's name; nothing for those that foretoken has not.
std::optional<CollectiveAlgorithm> algorithm_of(const NcclChoice& choice);

/// Collectives of one kind, size and number of ranks, as planned and as NCCL carried them out.
struct ChosenCollective {
  plan::OpKind kind = plan::OpKind::all_reduce;
  std::int64_t ranks = 0;
  std::int64_t bytes = 0;  ///< as NCCL counts them
  CollectiveAlgorithm planned = CollectiveAlgorithm::ring;
  std::vector<NcclChoice> chosen;  ///< usually one; none if NCCL's log has no line of it
  /// Groups of another number of ranks have the same kind and size, and NCCL took several ways: which is whose, its log
  /// does not tell.
  bool ambiguous = false;

  [[nodiscard]] bool agrees() const;
};

/// @param of_rank  [rank] what each rank's log says; ranks that are first in no communicator have nothing to say
std::vector<ChosenCollective> compare_choices(const plan::Plan& plan, std::span<const std::vector<NcclChoice>> of_rank);

/// What to --set so that a simulation has NCCL's algorithms: "deployment.collectives.all_reduce=nvls", … Nothing for a
/// kind whose sizes were carried out by several algorithms, or by one that foretoken has not: a scenario names one.
std::vector<std::string> settings_of(std::span<const ChosenCollective> collectives);

/// To and from a rank's message.
std::vector<char> to_bytes(std::span<const NcclChoice> choices);
std::vector<NcclChoice> choices_from_bytes(std::span<const char> bytes);

}  // namespace foretoken::runtime::cuda
