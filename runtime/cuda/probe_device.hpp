// The GPU that probes are timed on, behind an interface: what decides what is timed, how often, and what follows from
// it (calibrate/measure/measure_device.hpp) needs no GPU and is tested without one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/units.hpp"
#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/probe.hpp"
#include "runtime/cuda/run_cuda.hpp"

namespace foretoken::runtime::cuda {

/// What is measured on.
struct ProbedMachine {
  GpuRecord gpu;
  std::string driver;      ///< "CUDA 13.0 of the driver, 13.0 of the runtime"
  std::string blas;        ///< "cuBLASLt 13.0.0"
  std::string nccl;        ///< "2.28.9"; empty with one rank
  bool multicast = false;  ///< its NVSwitch can reduce and multicast (NVLS)
};

/// One rank's GPU. Where a launch has several ranks, all call the same functions in the same order.
class ProbeDevice {
 public:
  ProbeDevice() = default;
  ProbeDevice(const ProbeDevice&) = delete;
  ProbeDevice& operator=(const ProbeDevice&) = delete;
  virtual ~ProbeDevice() = default;

  [[nodiscard]] virtual const ProbedMachine& machine() const = 0;

  /// Communicators of the message probes that follow, by one algorithm; those of before are given up.
  /// @param probes  all that will be asked for
  virtual void connect(const std::string& algorithm, const std::vector<MessageProbe>& probes) = 0;

  /// A communicator of all ranks, for pair probes; those of before are given up.
  virtual void connect_all() = 0;

  /// Gets operands and runs the work once.
  /// Of pair probes both ranks call it at one time, others need not.
  /// @throws Error{infeasible} if the memory is not there, Error{rank_failed} if CUDA or NCCL fail
  virtual void prepare(const Probe& probe) = 0;

  /// Repeats the prepared work, back to back. @return time of all repetitions; zero at a rank that takes no part
  virtual Seconds run(std::int64_t repetitions) = 0;

  /// Called before and after this rank waits for others, which may be at probes in which it takes no part: that nothing
  /// comes back from its own GPU meanwhile does not mean that a call hangs.
  virtual void wait() = 0;

  /// Clocks, power, throttling since it was asked last.
  virtual GpuConditions conditions() = 0;
};

#ifdef FORETOKEN_CUDA
/// What messages are to be measured: `calibrate cuda` names algorithms to NCCL, one after the other, which the
/// environment may then not do. Messages between pairs have no algorithm.
enum class ProbedMessages { every_algorithm, between_pairs };

/// Takes a GPU for this process, as a run does.
/// @throws Error{invalid_input}, the same at every rank, if there is no GPU, a library is missing, or every algorithm
/// is
///         to be measured by several ranks and NCCL_ALGO is set
std::unique_ptr<ProbeDevice> open_probe_device(Bootstrap& bootstrap, ProbedMessages messages);

/// An MpiBootstrap, over MPI that is initialised; for builds with MPI.
std::unique_ptr<Bootstrap> open_mpi_bootstrap();
#endif

}  // namespace foretoken::runtime::cuda
