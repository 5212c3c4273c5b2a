// Which NIC a GPU's messages to other nodes leave by: the nearest on the PCI tree, as NCCL chooses.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace foretoken::runtime::cuda {

/// Names of the RDMA devices that share the longest way from the root of the PCI tree with the GPU, ascending:
/// "mlx5_3", or "mlx5_0, mlx5_1" where no one is nearer. Empty where there is none, where all are below other host
/// bridges than the GPU, or where the system does not tell.
/// @param pci  "0000:1b:00.0"
/// @param sys  of another computer, for tests
std::string nearest_nics(const std::string& pci, const std::filesystem::path& sys = "/sys");

/// How many folders two paths have in common at their beginning.
std::size_t common_folders(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace foretoken::runtime::cuda
