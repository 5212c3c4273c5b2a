# The importers under libFuzzer: build/fuzz/foretoken_fuzz, which tools/fuzz runs once for each format.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "FORETOKEN_FUZZ needs Clang, which has libFuzzer: cmake --preset fuzz, or -DCMAKE_CXX_COMPILER=clang++")
endif()
target_compile_options(foretoken_flags INTERFACE -fsanitize=fuzzer-no-link)

# The importers and what they stand on, without the simulator and without linking the rest of plan/.
file(GLOB import_sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} calibrate/import/*.cpp)
list(FILTER import_sources EXCLUDE REGEX "_samples\\.cpp$")
add_library(foretoken_fuzzed STATIC ${import_sources} core/error.cpp core/json_reader.cpp core/quantity_text.cpp
  plan/machine/vertex_names.cpp)
target_link_libraries(foretoken_fuzzed PUBLIC foretoken_flags fmt::fmt nlohmann_json::nlohmann_json pugixml::pugixml)

# Most of a file is these headers.
target_precompile_headers(foretoken_fuzzed PRIVATE <fmt/format.h> <nlohmann/json.hpp>)

add_executable(foretoken_fuzz tests/fuzz/import_fuzz.cpp)
target_link_libraries(foretoken_fuzz PRIVATE foretoken_fuzzed)
target_link_options(foretoken_fuzz PRIVATE -fsanitize=fuzzer)
