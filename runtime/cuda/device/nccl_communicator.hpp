// Collectives and messages by NCCL, over the communicators that the plan needs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/run_cuda.hpp"
#include "runtime/nccl_calls.hpp"

namespace foretoken::runtime::cuda {

/// The library: loaded, and new enough.
class NcclLibrary {
 public:
  /// @throws Error{invalid_input} if it cannot be loaded or is older than 2.28
  NcclLibrary();
  ~NcclLibrary();
  NcclLibrary(const NcclLibrary&) = delete;
  NcclLibrary& operator=(const NcclLibrary&) = delete;
  [[nodiscard]] std::string version() const;  // "2.28.9"

  /// Makes NCCL carry out what the plan names, by NCCL_ALGO of this process's environment; before any communicator.
  /// @param algorithms  as nccl_algorithms() says; nothing if empty
  /// Nothing either where FORETOKEN_NCCL_CHOOSES is 1: then NCCL's own tuner decides, for `run --nccl-chooses`.
  /// @throws Error{invalid_input} if the environment says otherwise already
  static void force(const std::string& algorithms);
  /// Whether NCCL's own tuner decides: FORETOKEN_NCCL_CHOOSES is 1.
  static bool chooses();

 private:
  friend class NcclCommunicator;
  struct Functions;
  std::unique_ptr<Functions> functions_;
};

/// Queues a call that is none of NCCL's. Offsets are from the op's input and output.
void queue_copy(const NcclCall& copy, const std::byte* in, std::byte* out, cudaStream_t stream);

class NcclCommunicator {
 public:
  /// Splits all families off the communicator of all ranks, in their order; all ranks call it at the same time. The
  /// current device is the rank's.
  /// @throws Error{rank_failed} naming the call and NCCL's own words
  NcclCommunicator(const NcclLibrary& library, const std::vector<NcclFamily>& families, Bootstrap& bootstrap);
  /// Destroys the communicators, or leaves them if they were aborted.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  /// Queues one op's calls, in their order, on a stream, which may be under capture. The addresses are of the op's
  /// input and output, or of its staging buffers; a side that it does not have is null.
  void queue(const NcclOperation& operation, const std::byte* in, std::byte* out, cudaStream_t stream) {
    queue(operation.family, operation.calls, in, out, stream);
  }
  /// The same of some of them. @param family of the op; -1 if all calls are copies
  void queue(std::int32_t family, std::span<const NcclCall> calls, const std::byte* in, std::byte* out,
             cudaStream_t stream);

  /// What NCCL's own model says that each collective takes which was queued outside of a capture, one per
  /// (communicator, function, count): asked before it is first queued, in a group of its own (ncclGroupSimulateEnd).
  /// Empty where the library has no such function; sends and receives have no estimate.
  [[nodiscard]] const std::vector<NcclEstimate>& estimates() const;

  /// Looks whether a communicator has failed meanwhile. @throws Error{rank_failed} naming it and the reason
  void poll();

  /// Ends all kernels of all communicators, so that the process can end.
  void abort();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace foretoken::runtime::cuda
