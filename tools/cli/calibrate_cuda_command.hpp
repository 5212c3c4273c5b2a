// foretoken calibrate cuda: what a GPU's kernels take, and under mpirun what NCCL's messages take.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "runtime/cuda/bootstrap.hpp"
#include "runtime/cuda/probe_device.hpp"

namespace CLI {
class App;
}

namespace foretoken::cli {

struct CalibrateCudaOptions {
  std::filesystem::path out;          // --out: a folder
  std::filesystem::path device;       // --device: datasheet; empty: the shipped one of the GPU's name
  std::filesystem::path base;         // --base: what is not measured; empty: the shipped calibration of the GPU's name
  std::vector<std::string> left_out;  // --leave-out: algorithms of NCCL's
  double budget_seconds = 300;        // --budget
  std::int64_t seed = 1;              // --seed: of the order of probes
  bool json = false;
};

/// Under a launcher all its processes call it, one per GPU.
/// @throws Error{invalid_input} without CUDA or a GPU, before anything is written
void run_calibrate_cuda(const CalibrateCudaOptions& options, std::ostream& out, std::ostream& err);

/// The same on a device that is open: whichever way it times.
/// @param interrupted  asked between probes
/// @throws Error of code 130 if it was interrupted: finished probes are in the folder, and the same command goes on
void calibrate_on(runtime::cuda::ProbeDevice& device, runtime::cuda::Bootstrap& bootstrap,
                  const CalibrateCudaOptions& options, const std::function<bool()>& interrupted, std::ostream& out,
                  std::ostream& err);

/// Adds it to `calibrate`. If it was given, `chosen` runs it after parsing.
void add_calibrate_cuda(CLI::App& calibrate, CalibrateCudaOptions& options, std::function<void()>& chosen,
                        std::ostream& out, std::ostream& err);

}  // namespace foretoken::cli
