# CUDA, and NCCL where it is found. Included only with FORETOKEN_CUDA=ON; needs nvcc, but neither a GPU nor a driver.
#
# The driver library (-lcuda) is never linked: its stub links on a machine without a driver, and then the loader fails.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  # The toolkit's own place, for shells that do not have it on the PATH.
  find_program(FORETOKEN_NVCC nvcc PATHS /usr/local/cuda/bin)
  mark_as_advanced(FORETOKEN_NVCC)
  if(FORETOKEN_NVCC)
    set(CMAKE_CUDA_COMPILER ${FORETOKEN_NVCC})
  endif()
endif()
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90)  # H100 and H200
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "FORETOKEN_CUDA is ON, but no CUDA compiler works here. Install the CUDA toolkit, or set CUDACXX "
                      "to the path of nvcc, or configure without -DFORETOKEN_CUDA=ON.")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

# CMake 3.25 does not know CUDA C++20 (CUDA_STANDARD 20 silently becomes 17), so the flag is passed by hand; the check
# shows that it arrives.
target_compile_options(foretoken_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
try_compile(FORETOKEN_CUDA_CXX20 ${PROJECT_BINARY_DIR}/cuda_cxx20 ${CMAKE_CURRENT_LIST_DIR}/cuda_cxx20.cu
            COMPILE_DEFINITIONS -std=c++20 OUTPUT_VARIABLE cuda_cxx20_log)
if(NOT FORETOKEN_CUDA_CXX20)
  message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} does not compile C++20:\n${cuda_cxx20_log}")
endif()

find_path(FORETOKEN_NCCL_INCLUDE nccl.h)
find_library(FORETOKEN_NCCL_LIBRARY nccl)
if(FORETOKEN_NCCL_INCLUDE AND FORETOKEN_NCCL_LIBRARY)
  add_library(foretoken_nccl INTERFACE)
  target_include_directories(foretoken_nccl SYSTEM INTERFACE ${FORETOKEN_NCCL_INCLUDE})
  target_link_libraries(foretoken_nccl INTERFACE ${FORETOKEN_NCCL_LIBRARY})
  set(nccl_found "${FORETOKEN_NCCL_LIBRARY}")
else()
  set(nccl_found "missing (Debian and Ubuntu: libnccl-dev of NVIDIA's repository); built without it")
endif()
message(STATUS "CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}; NCCL: ${nccl_found}")
