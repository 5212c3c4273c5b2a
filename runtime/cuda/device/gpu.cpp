#include "runtime/cuda/device/gpu.hpp"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <cstdlib>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/launch_check.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr int kComputeCapabilityMin = 9;  // Hopper: CMAKE_CUDA_ARCHITECTURES

std::string version_text(int version) { return fmt::format("{}.{}", version / 1'000, version / 10 % 100); }

std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i)
    text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                        static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
  return text;
}

}  // namespace

std::int64_t visible_gpus(std::string* why) {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver || code == cudaErrorNoDevice) {
    if (why != nullptr) *why = cudaGetErrorString(code);
    return 0;
  }
  check_cuda(code, "cudaGetDeviceCount");
  return count;
}

GpuRecord take_gpu(std::int64_t rank_on_node, bool gpus_shared) {
  std::string why;
  const std::int64_t visible = visible_gpus(&why);
  if (visible == 0)
    throw Error(ErrorCode::invalid_input,
                fmt::format("no GPU here ({}); run it where there is one, or on the CPUs with --backend host", why));
  const auto device = static_cast<int>(choose_gpu(visible, rank_on_node, gpus_shared));
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  if (properties.major < kComputeCapabilityMin)
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("GPU {} is a {} of compute capability {}.{}, and foretoken was built for 9.0 (H100, H200); "
                    "build it with -DCMAKE_CUDA_ARCHITECTURES={}{}",
                    device, properties.name, properties.major, properties.minor, properties.major, properties.minor));
  GpuRecord gpu;
  gpu.name = properties.name;
  gpu.uuid = uuid_text(properties.uuid);
  gpu.pci = fmt::format("{:04x}:{:02x}:{:02x}.0", properties.pciDomainID, properties.pciBusID, properties.pciDeviceID);
  gpu.multiprocessors = properties.multiProcessorCount;
  gpu.memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem);
  return gpu;
}

DeviceMemory device_memory() {
  std::size_t free = 0;
  std::size_t total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
}

std::string driver_version() {
  int driver = 0;
  int runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check_cuda(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return fmt::format("CUDA {} of the driver, {} of the runtime", version_text(driver), version_text(runtime));
}

bool gpus_may_be_shared() {
  const char* const value = std::getenv("FORETOKEN_SHARE_GPUS");  // NOLINT(concurrency-mt-unsafe): nothing changes it
  return value != nullptr && std::string(value) == "1";
}

}  // namespace foretoken::runtime::cuda
