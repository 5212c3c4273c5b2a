// What NCCL writes down about itself, in a folder of this process's own: its log of choices, and the topology that it
// saw. Asked for by environment variables, before NCCL is first called.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/cuda/nccl_choices.hpp"

namespace foretoken::runtime::cuda {

/// NCCL reads the variables once per process. What the user has set is left as it is: then that is not ours to read,
/// and not_read() says so.
class NcclNotes {
 public:
  /// Makes the folder and sets the variables. Where there is no room for a folder nothing is noted.
  NcclNotes();
  /// Removes the folder, and the variables.
  ~NcclNotes();
  NcclNotes(const NcclNotes&) = delete;
  NcclNotes& operator=(const NcclNotes&) = delete;

  /// Of the log until now.
  [[nodiscard]] std::vector<NcclChoice> choices() const;
  /// NCCL's XML; empty at processes that are not told to write one, as all but rank 0.
  [[nodiscard]] std::string topology() const;
  /// Why there are no choices: "NCCL_DEBUG is set in the environment"; empty if nothing stands in the way.
  [[nodiscard]] const std::string& not_read() const { return not_read_; }

 private:
  void set(const char* name, const std::string& value);
  std::filesystem::path folder_;
  std::vector<const char*> set_;
  std::string not_read_;
};

}  // namespace foretoken::runtime::cuda
