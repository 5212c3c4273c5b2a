// A shared library that is loaded when it is needed, not when the program starts.
//
// NCCL and cuBLASLt are 0.8 GB; linked, they would take every start of every command 0.7 s (measured), and a machine
// without them could run none.
#pragma once

#include <string>
#include <vector>

namespace foretoken::runtime::cuda {

class LoadedLibrary {
 public:
  /// Tries the names in their order. @param package  what to install, for the message
  /// @throws Error{invalid_input} if none can be loaded, with the loader's words
  LoadedLibrary(const std::vector<std::string>& names, const std::string& package);

  /// @throws Error{invalid_input} if the library has no such function
  template <class Function>
  void find(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(find_address(name));
  }

  /// Null if the library has no such function.
  template <class Function>
  void find_if_any(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(find_any_address(name));
  }

 private:
  [[nodiscard]] void* find_address(const char* name) const;
  [[nodiscard]] void* find_any_address(const char* name) const;
  std::string name_;
  void* handle_ = nullptr;  // kept until the process ends: such libraries do not like to be unloaded
};

/// The same for a library that may be missing: null if it is, or has not all of the functions.
void* open_optional_library(const char* name);
void* find_optional_address(void* library, const char* name);

}  // namespace foretoken::runtime::cuda
