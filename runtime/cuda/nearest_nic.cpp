#include "runtime/cuda/nearest_nic.hpp"

#include <algorithm>
#include <system_error>

namespace foretoken::runtime::cuda {

namespace fs = std::filesystem;

std::size_t common_folders(const fs::path& a, const fs::path& b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(std::distance(a.begin(), end));
}

namespace {

// Folders of a device's path up to and with its host bridge, pciDDDD:BB; all of them if there is none.
std::size_t folders_to_host_bridge(const fs::path& device) {
  std::size_t folders = 0;
  for (const fs::path& folder : device) {
    ++folders;
    const std::string name = folder.string();
    if (name.starts_with("pci") && name.find(':') != std::string::npos) return folders;
  }
  return folders;
}

}  // namespace

// /sys/class/infiniband/mlx5_0/device and /sys/bus/pci/devices/0000:1b:00.0 are links into one tree of folders, a
// folder per bridge.
std::string nearest_nics(const std::string& pci, const fs::path& sys) {
  std::error_code error;
  const fs::path gpu = fs::canonical(sys / "bus/pci/devices" / pci, error);
  if (error) return "";
  std::vector<std::string> nearest;
  std::size_t most = folders_to_host_bridge(gpu);
  for (const fs::directory_entry& entry : fs::directory_iterator(sys / "class/infiniband", error)) {
    std::error_code unknown;
    const fs::path nic = fs::canonical(entry.path() / "device", unknown);
    if (unknown) continue;
    const std::size_t common = common_folders(gpu, nic);
    if (common < most) continue;
    if (common > most) nearest.clear();
    most = common;
    nearest.push_back(entry.path().filename().string());
  }
  std::sort(nearest.begin(), nearest.end());
  std::string text;
  for (const std::string& name : nearest) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace foretoken::runtime::cuda
