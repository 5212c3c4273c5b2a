# Benchmarks of tests/bench, with FORETOKEN_BENCH on; what is not found is left out and said so. No test needs them.
#
#   foretoken_benchmark      *_benchmark.cpp, with Google Benchmark (libbenchmark-dev)
#   foretoken_all_to_all     one exchange in a process of its own, for tests/bench/against_simgrid
#   simgrid_all_to_all       the same exchange in SimGrid (libsimgrid-dev), which is linked to nothing else
add_executable(foretoken_all_to_all tests/bench/foretoken_all_to_all.cpp)
target_link_libraries(foretoken_all_to_all PRIVATE foretoken_sim)

find_package(benchmark QUIET CONFIG)
if(benchmark_FOUND)
  file(GLOB benchmarks CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} tests/bench/*_benchmark.cpp)
  add_executable(foretoken_benchmark ${benchmarks})
  target_link_libraries(foretoken_benchmark PRIVATE foretoken_sim benchmark::benchmark)
else()
  message(STATUS "No Google Benchmark found: foretoken_benchmark is left out. apt-get install libbenchmark-dev")
endif()

find_path(FORETOKEN_SIMGRID_INCLUDE simgrid/s4u.hpp)
find_library(FORETOKEN_SIMGRID_LIBRARY simgrid)
if(FORETOKEN_SIMGRID_INCLUDE AND FORETOKEN_SIMGRID_LIBRARY)
  add_executable(simgrid_all_to_all tests/bench/simgrid_all_to_all.cpp)
  target_include_directories(simgrid_all_to_all PRIVATE ${PROJECT_SOURCE_DIR})
  target_include_directories(simgrid_all_to_all SYSTEM PRIVATE ${FORETOKEN_SIMGRID_INCLUDE})
  target_link_libraries(simgrid_all_to_all PRIVATE ${FORETOKEN_SIMGRID_LIBRARY})
else()
  message(STATUS "No SimGrid found: simgrid_all_to_all is left out. apt-get install libsimgrid-dev")
endif()
