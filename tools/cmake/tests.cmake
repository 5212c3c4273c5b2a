# One test program per folder of tests/: tests/<folder>/**/*.cpp -> foretoken_<folder>_test, label <folder>.
#
# Tests run from the repository root, so they name data files as a user would ("scenarios/paper/…"). Other .cpp files of
# a folder (helpers, oracles) are linked into its program. Tests that run the command find it by foretoken_places.hpp.
# tests/bench and tests/fuzz hold no tests: tools/cmake/bench.cmake, tools/cmake/fuzz.cmake.
include(GoogleTest)

configure_file(${PROJECT_SOURCE_DIR}/tests/foretoken_places.hpp.in ${FORETOKEN_GENERATED}/foretoken_places.hpp)

# foretoken_oracles(<name> <library> <source>...): helpers of one folder of tests that others use too, compiled once.
function(foretoken_oracles name library)
  add_library(${name} STATIC EXCLUDE_FROM_ALL ${ARGN})
  target_link_libraries(${name} PUBLIC ${library} GTest::gmock)
  target_include_directories(${name} PRIVATE ${FORETOKEN_GENERATED})
  foretoken_unity(${name} ${ARGN})
  set(foretoken_oracle_sources ${foretoken_oracle_sources} ${ARGN} PARENT_SCOPE)
endfunction()
foretoken_oracles(foretoken_schema_oracle foretoken_core tests/plan/json_schema.cpp)
foretoken_oracles(foretoken_command_line foretoken_tools tests/cli/command_line.cpp)
foretoken_oracles(foretoken_tiny_program foretoken_sim tests/sim/tiny_program.cpp)  # small simulated traces
# Small plans, and what every live run must come to.
foretoken_oracles(foretoken_live_oracles foretoken_runtime tests/runtime/small_plan.cpp tests/runtime/reference.cpp
  tests/runtime/agreement.cpp tests/runtime/mpi_launch.cpp)

file(GLOB test_folders CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/tests LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/tests/*)
list(REMOVE_ITEM test_folders bench fuzz)
foreach(folder IN LISTS test_folders)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} tests/${folder}/*.cpp)
  if(NOT FORETOKEN_CUDA)
    list(FILTER sources EXCLUDE REGEX "^tests/cuda/device/")  # include headers of CUDA
  endif()
  list(REMOVE_ITEM sources ${foretoken_oracle_sources})
  if(NOT sources)
    continue()
  endif()
  set(program foretoken_${folder}_test)
  add_executable(${program} ${sources})
  foretoken_unity(${program} ${sources})
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
  set(oracles)
  if(folder STREQUAL "plan" OR library STREQUAL "foretoken_tools")
    list(APPEND oracles foretoken_schema_oracle)  # what the command prints, against its schemas
  endif()
  if(library STREQUAL "foretoken_tools")
    list(APPEND oracles foretoken_command_line)
  endif()
  if(folder MATCHES "^(sim|explain)$")
    list(APPEND oracles foretoken_tiny_program)
  endif()
  if(folder MATCHES "^(runtime|cuda)$")
    list(APPEND oracles foretoken_live_oracles)
  endif()
  target_link_libraries(${program} PRIVATE ${oracles} ${library} GTest::gmock GTest::gtest_main)
  target_include_directories(${program} PRIVATE ${FORETOKEN_GENERATED})
  if(library STREQUAL "foretoken_tools")
    add_dependencies(${program} foretoken foretoken_completions)
    if(folder STREQUAL "cli")
      target_sources(${program} PRIVATE tests/measure/invented_gpu.cpp)  # a GPU that is made up
    endif()
  endif()
  gtest_discover_tests(${program}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES LABELS ${folder} TIMEOUT 300
    DISCOVERY_TIMEOUT 60)
endforeach()
