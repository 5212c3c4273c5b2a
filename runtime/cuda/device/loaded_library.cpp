#include "runtime/cuda/device/loaded_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include "core/error.hpp"

namespace foretoken::runtime::cuda {

LoadedLibrary::LoadedLibrary(const std::vector<std::string>& names, const std::string& package) {
  std::string why;
  for (const std::string& name : names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    const char* const said = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps one per thread
    if (why.empty() && said != nullptr) why = said;
  }
  throw Error(ErrorCode::invalid_input,
              fmt::format("{} cannot be loaded ({}); install {}, or name its folder in LD_LIBRARY_PATH", names.front(),
                          why, package));
}

void* LoadedLibrary::find_address(const char* name) const {
  void* const address = dlsym(handle_, name);
  if (address == nullptr)
    throw Error(ErrorCode::invalid_input,
                fmt::format("{} has no {}: it is older than the one foretoken was built with", name_, name));
  return address;
}

void* LoadedLibrary::find_any_address(const char* name) const { return dlsym(handle_, name); }

void* open_optional_library(const char* name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }

void* find_optional_address(void* library, const char* name) { return dlsym(library, name); }

}  // namespace foretoken::runtime::cuda
