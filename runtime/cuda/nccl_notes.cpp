#include "runtime/cuda/nccl_notes.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace foretoken::runtime::cuda {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLog = "nccl.log";
constexpr const char* kTopology = "topology.xml";

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

NcclNotes::NcclNotes() {
  std::error_code failed;
  std::string pattern = (fs::temp_directory_path(failed) / "foretoken-nccl-XXXXXX").string();
  if (failed || mkdtemp(pattern.data()) == nullptr) {
    not_read_ = "there is no room for a temporary folder";
    return;
  }
  folder_ = pattern;
  // NOLINTBEGIN(concurrency-mt-unsafe): before there are threads of NCCL's
  for (const char* name : {"NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_DEBUG_FILE"})
    if (std::getenv(name) != nullptr && not_read_.empty())
      not_read_ = fmt::format("{} is set in the environment", name);
  if (not_read_.empty()) {
    set("NCCL_DEBUG", "INFO");
    set("NCCL_DEBUG_SUBSYS", "TUNING");
    set("NCCL_DEBUG_FILE", (folder_ / kLog).string());
  }
  if (std::getenv("NCCL_TOPO_DUMP_FILE") == nullptr) set("NCCL_TOPO_DUMP_FILE", (folder_ / kTopology).string());
  // NOLINTEND(concurrency-mt-unsafe)
}

NcclNotes::~NcclNotes() {
  for (const char* name : set_) unsetenv(name);  // NOLINT(concurrency-mt-unsafe): NCCL has read them
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

void NcclNotes::set(const char* name, const std::string& value) {
  setenv(name, value.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): before there are threads of NCCL's
  set_.push_back(name);
}

std::vector<NcclChoice> NcclNotes::choices() const {
  if (folder_.empty() || !not_read_.empty()) return {};
  return parse_nccl_choices(text_of(folder_ / kLog));
}

std::string NcclNotes::topology() const { return folder_.empty() ? "" : text_of(folder_ / kTopology); }

}  // namespace foretoken::runtime::cuda
