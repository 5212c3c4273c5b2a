# Compiler flags of all our own targets, carried by the interface target foretoken_flags.
add_library(foretoken_flags INTERFACE)
target_include_directories(foretoken_flags INTERFACE ${PROJECT_SOURCE_DIR})

# -ffp-contract=off: fused multiply-adds would make the same seed give other bytes on other machines.
# -fmacro-prefix-map: __FILE__ in messages is relative to the repository, so that the binary names no build machine.
target_compile_options(foretoken_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion -Wshadow -ffp-contract=off>
  "$<$<COMPILE_LANGUAGE:CXX>:-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>")
if(FORETOKEN_WERROR)
  target_compile_options(foretoken_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
# GCC 12 takes a joined std::string for one that is written past its end (its bugs 105329 and 105651), if the path of the
# clone has the length for it.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(foretoken_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds -Wno-restrict>)
endif()
if(FORETOKEN_CHECKS)
  target_compile_definitions(foretoken_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
endif()
if(FORETOKEN_SANITIZE)
  target_compile_options(foretoken_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${FORETOKEN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer>)
  target_link_options(foretoken_flags INTERFACE -fsanitize=${FORETOKEN_SANITIZE})
  # GCC's manual: sanitizers may cause false positives of this one (std::regex has them). The dev build keeps it.
  target_compile_options(foretoken_flags INTERFACE
    $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-Wno-maybe-uninitialized>)
endif()
