# CUDA and the headers of NCCL. Included only with FORETOKEN_CUDA=ON; needs nvcc, but neither a GPU nor a driver.
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

if(FORETOKEN_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${FORETOKEN_CCACHE})
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "FORETOKEN_CUDA is ON, but no CUDA compiler works here. Install the CUDA toolkit, or set CUDACXX "
                      "to the path of nvcc, or configure without -DFORETOKEN_CUDA=ON.")
endif()
enable_language(CUDA)
# CMake 3.25 to 3.27 deprecate CUDA::nvToolsExt by a property, also where it is not: CUDA 13 has it no more. They do so only
# for projects that ask for 3.25.
set(minimum ${CMAKE_MINIMUM_REQUIRED_VERSION})
set(CMAKE_MINIMUM_REQUIRED_VERSION 3.24)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_MINIMUM_REQUIRED_VERSION ${minimum})
if(CUDAToolkit_VERSION VERSION_LESS 12.9)
  # cublasLt.h of older ones does not name scales of rows (runtime/cuda/device/gemm.cpp).
  message(FATAL_ERROR "FORETOKEN_CUDA is ON, and the CUDA toolkit here is ${CUDAToolkit_VERSION} (${CUDAToolkit_BIN_DIR}); "
                      "products in fp8 need 12.9 or newer. Install it and set CUDACXX to the path of its nvcc.")
endif()

# CMake 3.25 does not know CUDA C++20, so the flag is passed by hand; the check shows that it arrives. The standard is
# nvcc's own, for which CMake passes no flag; unset, it would be that of C++.
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED OFF)
set(CMAKE_CUDA_EXTENSIONS ON)
target_compile_options(foretoken_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20>)
try_compile(FORETOKEN_CUDA_CXX20 ${PROJECT_BINARY_DIR}/cuda_cxx20 ${CMAKE_CURRENT_LIST_DIR}/cuda_cxx20.cu
            COMPILE_DEFINITIONS -std=c++20 OUTPUT_VARIABLE cuda_cxx20_log)
if(NOT FORETOKEN_CUDA_CXX20)
  message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} does not compile C++20:\n${cuda_cxx20_log}")
endif()

# Warnings of nvcc's own and of the host compiler behind it. -Wpedantic is left out: the code that nvcc writes is none.
target_compile_options(foretoken_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra,-Wconversion,-Wshadow>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-ffp-contract=off,-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=>")
if(FORETOKEN_WERROR)
  target_compile_options(foretoken_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xcompiler=-Werror>")
endif()

# Headers alone: NCCL and cuBLASLt, 0.8 GB together, would take every start of the program 0.7 s. They are loaded when a
# run needs them (runtime/cuda/device/loaded_library.hpp).
find_path(FORETOKEN_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
if(NOT FORETOKEN_NCCL_INCLUDE)
  message(FATAL_ERROR "FORETOKEN_CUDA is ON, but there is no nccl.h. Install NCCL 2.28 or newer (Debian and Ubuntu: "
                      "libnccl-dev of NVIDIA's repository), or set FORETOKEN_NCCL_INCLUDE to its folder.")
endif()
add_library(foretoken_cuda_toolkit INTERFACE)
target_include_directories(foretoken_cuda_toolkit SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${FORETOKEN_NCCL_INCLUDE})
target_link_libraries(foretoken_cuda_toolkit INTERFACE CUDA::cudart_static ${CMAKE_DL_LIBS})
# Where to look for the libraries that are loaded, before the system's own places.
target_link_options(foretoken_cuda_toolkit INTERFACE -Wl,-rpath,${CUDAToolkit_LIBRARY_DIR})
target_compile_definitions(foretoken_cuda_toolkit INTERFACE FORETOKEN_CUDA)
message(STATUS "CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}; nccl.h in ${FORETOKEN_NCCL_INCLUDE}")
