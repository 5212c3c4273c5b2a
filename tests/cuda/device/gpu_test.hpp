// Tests that need a GPU: skipped where there is none, visibly; failed where FORETOKEN_REQUIRE_GPU=1 says that there is.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "runtime/cuda/device/gpu.hpp"

namespace foretoken::test {

inline bool gpu_required() {
  const char* const value = std::getenv("FORETOKEN_REQUIRE_GPU");  // NOLINT(concurrency-mt-unsafe): nothing changes it
  return value != nullptr && std::string(value) == "1";
}

}  // namespace foretoken::test

/// First line of a test or SetUp().
#define FORETOKEN_NEED_GPU()                                                                              \
  do {                                                                                                    \
    std::string why;                                                                                      \
    if (::foretoken::runtime::cuda::visible_gpus(&why) > 0) break;                                        \
    if (::foretoken::test::gpu_required()) FAIL() << "FORETOKEN_REQUIRE_GPU=1, and no GPU here: " << why; \
    GTEST_SKIP() << "no GPU here: " << why;                                                               \
  } while (false)
