# One test program per folder of tests/: tests/<folder>/**/*.cpp -> foretoken_<folder>_test, label <folder>.
#
# Tests run from the repository root, so they name data files as a user would ("scenarios/paper/…"). Other .cpp files of
# a folder (helpers, oracles) are linked into its program. Tests that run the command find it by foretoken_places.hpp.
# tests/bench and tests/fuzz hold no tests: tools/cmake/bench.cmake, tools/cmake/fuzz.cmake.
include(GoogleTest)

configure_file(${PROJECT_SOURCE_DIR}/tests/foretoken_places.hpp.in ${FORETOKEN_GENERATED}/foretoken_places.hpp)
foretoken_precompiled(foretoken_test_headers LINK GTest::gmock HEADERS <gmock/gmock.h> <gtest/gtest.h>)

file(GLOB test_folders CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/tests LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/tests/*)
list(REMOVE_ITEM test_folders bench fuzz)
foreach(folder IN LISTS test_folders)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} tests/${folder}/*.cpp)
  if(NOT FORETOKEN_CUDA)
    list(FILTER sources EXCLUDE REGEX "^tests/cuda/device/")  # include headers of CUDA
  endif()
  if(NOT sources)
    continue()
  endif()
  set(program foretoken_${folder}_test)
  add_executable(${program} ${sources})
  # The folder's own library and what is below it, so that one part can be tested while another does not compile.
  if(folder STREQUAL "style")
    set(library foretoken_flags)  # needs no library at all, nor their headers
  elseif(folder STREQUAL "cuda")
    set(library foretoken_device)
  elseif(TARGET foretoken_${folder})
    set(library foretoken_${folder})
  else()
    set(library foretoken_tools)
  endif()
  target_link_libraries(${program} PRIVATE ${library} GTest::gmock GTest::gtest_main)
  target_include_directories(${program} PRIVATE ${FORETOKEN_GENERATED})
  if(NOT folder STREQUAL "style")
    foretoken_use_precompiled(${program} foretoken_test_headers)
  endif()
  if(folder STREQUAL "cuda")  # small plans, and what every live run must come to
    target_sources(${program} PRIVATE tests/runtime/small_plan.cpp tests/runtime/reference.cpp tests/runtime/agreement.cpp tests/runtime/mpi_launch.cpp)
  endif()
  if(library STREQUAL "foretoken_tools")
    add_dependencies(${program} foretoken foretoken_completions)
    target_sources(${program} PRIVATE tests/plan/json_schema.cpp)  # what the command prints, against its schemas
    if(folder STREQUAL "cli")
      target_sources(${program} PRIVATE tests/measure/invented_gpu.cpp)  # a GPU that is made up
    endif()
    if(folder STREQUAL "explain")
      target_sources(${program} PRIVATE tests/sim/tiny_program.cpp)  # small simulated traces
    endif()
  endif()
  gtest_discover_tests(${program}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES LABELS ${folder} TIMEOUT 300
    DISCOVERY_TIMEOUT 60)
endforeach()
