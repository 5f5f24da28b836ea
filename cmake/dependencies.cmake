# Third-party libraries: Debian packages, and libtorch and Arrow from their pip wheels.

# The wheel's own interpreter tells where its CMake files are; importing torch is not needed for that.
if(NOT Torch_DIR AND NOT DEFINED ENV{Torch_DIR})
  set(ELREA_PYTHON ${CMAKE_CURRENT_SOURCE_DIR}/build/venv/bin/python CACHE FILEPATH
      "Python whose site-packages hold torch")
  execute_process(
    COMMAND ${ELREA_PYTHON} -c
      "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0] + '/share/cmake/Torch')"
    OUTPUT_VARIABLE Torch_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE torch_missing)
  if(torch_missing)
    message(FATAL_ERROR "libtorch not found. Run `make setup`, or pass -DTorch_DIR=<torch>/share/cmake/Torch.")
  endif()
endif()
# A CUDA libtorch adds the flags of these GPUs to CMAKE_CUDA_FLAGS and ignores CMAKE_CUDA_ARCHITECTURES. Unset, it asks the
# GPU of this machine, of which there may be none.
if(NOT TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
  set(TORCH_CUDA_ARCH_LIST "8.0;9.0+PTX")
endif()
find_package(Torch REQUIRED)

# Our own kernels for the GPU, wherever libtorch has it too. Such a libtorch is not found without a CUDA compiler.
set(cuda_torch OFF)
if(TARGET torch_cuda AND CMAKE_CUDA_COMPILER)
  set(cuda_torch ON)
endif()
option(ELREA_CUDA "Build the fused kernels for CUDA too" ${cuda_torch})
if(ELREA_CUDA AND NOT cuda_torch)
  message(FATAL_ERROR "ELREA_CUDA needs a CUDA build of libtorch and nvcc: ${Torch_DIR} is not one.")
endif()

# libtorch brings its own copy of the OpenMP run time. Linking the system's as well would give a program two thread
# pools that compete for the same cores, so ours is torch's wherever there is one.
get_filename_component(ELREA_TORCH_LIB_DIR ${TORCH_LIBRARY} DIRECTORY)
file(GLOB torch_gomp ${ELREA_TORCH_LIB_DIR}/libgomp*.so*)
if(torch_gomp)
  list(GET torch_gomp 0 torch_gomp)
  set(OpenMP_gomp_LIBRARY ${torch_gomp} CACHE FILEPATH "OpenMP run time, libtorch's own" FORCE)
endif()
find_package(OpenMP REQUIRED)

find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.74 REQUIRED)  # headers only: Asio and Beast
find_package(prometheus-cpp REQUIRED COMPONENTS core)
find_package(GTest REQUIRED)
if(ELREA_PYTHON)
  set(Python3_EXECUTABLE ${ELREA_PYTHON})  # its packages are what the script tests need
endif()
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
add_library(PCRE2::pcre2_8 ALIAS PkgConfig::PCRE2)
find_library(ELREA_UTF8PROC utf8proc REQUIRED)
add_library(utf8proc INTERFACE)
target_link_libraries(utf8proc INTERFACE ${ELREA_UTF8PROC})
find_package(ZLIB REQUIRED)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
add_library(zstd ALIAS PkgConfig::ZSTD)
find_library(ELREA_XXHASH xxhash REQUIRED)
add_library(xxhash INTERFACE)
target_link_libraries(xxhash INTERFACE ${ELREA_XXHASH})

# Parquet: Arrow's libraries and headers as the pyarrow wheel carries them; Debian has none. Without them, all is built
# but that.
option(ELREA_PARQUET "Read Parquet files, with the libraries of the pyarrow wheel" ON)
if(ELREA_PARQUET)
  if(ELREA_PYTHON AND NOT ELREA_ARROW_DIR)
    execute_process(
      COMMAND ${ELREA_PYTHON} -c
        "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
      OUTPUT_VARIABLE arrow_dir OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    set(ELREA_ARROW_DIR "${arrow_dir}" CACHE PATH "Folder of the pyarrow package" FORCE)
  endif()
  file(GLOB arrow_libraries ${ELREA_ARROW_DIR}/libparquet.so.* ${ELREA_ARROW_DIR}/libarrow.so.*)
  list(LENGTH arrow_libraries num_arrow_libraries)
  if(ELREA_ARROW_DIR AND num_arrow_libraries EQUAL 2)
    add_library(arrow INTERFACE)
    target_link_libraries(arrow INTERFACE ${arrow_libraries})
    target_include_directories(arrow SYSTEM INTERFACE ${ELREA_ARROW_DIR}/include)
    target_compile_definitions(arrow INTERFACE ELREA_PARQUET)
  else()
    message(WARNING "pyarrow not found: this build will not read Parquet. Run `make setup`, or pass "
                    "-DELREA_ARROW_DIR=<site-packages>/pyarrow, or -DELREA_PARQUET=OFF to say that it is meant so.")
  endif()
endif()
