# Writes HEADER with the version and the commit of SOURCE, and leaves the file alone when nothing changed.
# cmake -DSOURCE=<dir> -DVERSION=<x.y.z> -DHEADER=<file> -P write_version.cmake
set(commit unknown)
find_program(GIT git)
if(GIT AND EXISTS "${SOURCE}/.git")
  execute_process(COMMAND "${GIT}" -C "${SOURCE}" rev-parse --short=12 HEAD
                  OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit "${head}")
    # A tree with uncommitted changes says so: a number printed by it cannot be replayed from the commit alone.
    # (Without optional locks, a build never disturbs a git command that runs beside it.)
    execute_process(COMMAND "${GIT}" --no-optional-locks -C "${SOURCE}" diff --quiet HEAD -- RESULT_VARIABLE changed ERROR_QUIET)
    if(changed)
      string(APPEND commit "-modified")
    endif()
  endif()
endif()

set(text "// Written by tools/cmake/write_version.cmake.
#pragma once

#define FORETOKEN_VERSION \"${VERSION}\"
#define FORETOKEN_COMMIT \"${commit}\"
")
set(old)
if(EXISTS "${HEADER}")
  file(READ "${HEADER}" old)
endif()
if(NOT text STREQUAL old)
  file(WRITE "${HEADER}" "${text}")
endif()
