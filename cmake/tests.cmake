# One test program per folder of tests/: tests/<folder>/**/*.cpp -> foretoken_<folder>_test, label <folder>.
#
# Tests run from the repository root, so they name data files as a user would ("scenarios/paper/…"). Other .cpp files of
# a folder (helpers, oracles) are linked into its program.
include(GoogleTest)

file(GLOB test_folders CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/tests LIST_DIRECTORIES true ${PROJECT_SOURCE_DIR}/tests/*)
foreach(folder IN LISTS test_folders)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} tests/${folder}/*.cpp)
  if(NOT sources)
    continue()
  endif()
  set(program foretoken_${folder}_test)
  add_executable(${program} ${sources})
  target_link_libraries(${program} PRIVATE foretoken_tools GTest::gmock GTest::gtest_main)
  target_compile_definitions(${program} PRIVATE FORETOKEN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(TARGET foretoken)
    target_compile_definitions(${program} PRIVATE FORETOKEN_BINARY="$<TARGET_FILE:foretoken>")
    add_dependencies(${program} foretoken)
  endif()
  gtest_discover_tests(${program}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    PROPERTIES LABELS ${folder} TIMEOUT 300
    DISCOVERY_TIMEOUT 60)
endforeach()
