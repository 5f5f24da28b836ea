# Rules shared by every folder: one static library per folder, one test program per folder with tests
# found by glob, a single precompiled torch header for all that use torch.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CUDA_STANDARD 17)  # the newest that Debian's CMake can ask nvcc for
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # the run time that libtorch is linked with serves us too
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

option(ELREA_NATIVE "Compile for the instruction set of this machine" ON)
option(ELREA_WERROR "Treat warnings as errors" OFF)
option(ELREA_SANITIZE "Build with the address and undefined-behaviour sanitizers" OFF)

find_program(ELREA_CCACHE ccache)
if(ELREA_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${ELREA_CCACHE})
endif()

add_library(elrea_flags INTERFACE)
# Flags of the C++ compiler, which nvcc does not take.
function(elrea_cxx_options)
  target_compile_options(elrea_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${ARGN}>")
endfunction()
elrea_cxx_options(-Wall -Wextra -Wno-unknown-pragmas -Winvalid-pch)
if(ELREA_CCACHE)
  elrea_cxx_options(-fpch-preprocess)
endif()
if(ELREA_NATIVE)
  elrea_cxx_options(-march=native)
endif()
if(ELREA_WERROR)
  elrea_cxx_options(-Werror)
endif()
if(ELREA_CUDA)
  target_compile_definitions(elrea_flags INTERFACE ELREA_CUDA)
  # CUDA builds of libtorch carry parts of another libstdc++, std::filesystem among them, which the system's must shadow:
  # whoever is linked first is looked up first.
  target_link_options(elrea_flags INTERFACE "LINKER:--push-state,--no-as-needed,-lstdc++,--pop-state")
endif()
if(ELREA_SANITIZE)
  # vptr needs type information that libtorch does not export.
  elrea_cxx_options(-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all
                    -fno-omit-frame-pointer)
  target_link_options(elrea_flags INTERFACE -fsanitize=address,undefined)
endif()
target_include_directories(elrea_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_link_libraries(elrea_flags INTERFACE OpenMP::OpenMP_CXX)

# The torch wheel carries headers of another fmt than the library linked here; a link to ours is searched first.
get_target_property(fmt_include_dir fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
file(CREATE_LINK ${fmt_include_dir}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
target_include_directories(elrea_flags INTERFACE ${CMAKE_BINARY_DIR}/include)

# The one torch precompiled header, made once. gcc accepts it only where every macro that those headers look at is the
# same, so the libraries whose definitions reach them (fmt, spdlog, OpenMP) are linked here; other definitions, such
# as the tests' own, do no harm. <torch/torch.h> is left out on purpose: what it adds (torch::nn, optim, data) costs
# each file 4 s more, precompiled or not, for templates instantiated again.
add_library(elrea_torch STATIC ${CMAKE_SOURCE_DIR}/cmake/torch_pch.cc)
target_link_libraries(elrea_torch PUBLIC elrea_flags ${TORCH_LIBRARIES} fmt::fmt spdlog::spdlog
                                         nlohmann_json::nlohmann_json)
target_include_directories(elrea_torch SYSTEM PUBLIC ${TORCH_INCLUDE_DIRS})
target_precompile_headers(elrea_torch PRIVATE <torch/types.h> <torch/autograd.h> <torch/utils.h> <ATen/ATen.h>
                                              <ATen/Dispatch.h> <ATen/Parallel.h> <fmt/format.h>
                                              <nlohmann/json.hpp>)

function(elrea_use_torch target)
  target_link_libraries(${target} PUBLIC elrea_torch)
  target_precompile_headers(${target} REUSE_FROM elrea_torch)
endfunction()

# elrea_library(<folder> [TORCH] DEPS ...): elrea_<folder> and, where there are tests, <folder>_tests. *.cu belong to it
# where ELREA_CUDA is on; they include no torch header.
function(elrea_library folder)
  cmake_parse_arguments(arg "TORCH" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "_(test|bench)\\.cc$")
  if(ELREA_CUDA)
    file(GLOB kernels CONFIGURE_DEPENDS ${folder}/*.cu)
    list(APPEND sources ${kernels})
  endif()
  if(NOT sources)
    add_library(elrea_${folder} INTERFACE)
    target_link_libraries(elrea_${folder} INTERFACE elrea_flags ${arg_DEPS})
    return()
  endif()
  add_library(elrea_${folder} STATIC ${sources})
  target_link_libraries(elrea_${folder} PUBLIC elrea_flags ${arg_DEPS})
  if(arg_TORCH)
    elrea_use_torch(elrea_${folder})
  endif()
  elrea_test_program(${folder} "${tests}" elrea_${folder} "${arg_TORCH}")
endfunction()

function(elrea_test_program name tests library torch)
  if(NOT tests)
    return()
  endif()
  add_executable(${name}_tests ${tests})
  target_link_libraries(${name}_tests PRIVATE ${library} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name}_tests PRIVATE ELREA_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                   ELREA_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(torch)
    elrea_use_torch(${name}_tests)
  endif()
  add_test(NAME ${name} COMMAND ${name}_tests)
  # libtorch is not instrumented, so a std::vector that crosses into it looks overrun (container overflow). Threads that
  # wait sleep early, as in the program: beside other busy processes a test took 13 s that takes 1 s so.
  set_tests_properties(${name} PROPERTIES TIMEOUT 900 ENVIRONMENT
    "GTEST_OUTPUT=json:${CMAKE_BINARY_DIR}/test_reports/${name}.json;ASAN_OPTIONS=detect_container_overflow=0;UBSAN_OPTIONS=print_stacktrace=1;GOMP_SPINCOUNT=5000")
endfunction()

# elrea_embed_files(<target> <folder>): the folder's files as WebFiles() of serve/web_files.h, made again when they change.
function(elrea_embed_files target folder)
  file(GLOB paths CONFIGURE_DEPENDS ${folder}/*)
  set(names "")
  foreach(path ${paths})
    get_filename_component(name ${path} NAME)
    list(APPEND names ${name})
  endforeach()
  set(out ${CMAKE_BINARY_DIR}/embedded/${target}.cc)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_files.cmake)
  add_custom_command(OUTPUT ${out} DEPENDS ${paths} ${script} VERBATIM
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DFOLDER=${CMAKE_SOURCE_DIR}/${folder} "-DFILES=${names}" -P ${script})
  target_sources(${target} PRIVATE ${out})
endfunction()

# elrea_build_commit(<target>): BuildCommit() of core/commit.h, looked at anew in every build.
function(elrea_build_commit target)
  set(out ${CMAKE_BINARY_DIR}/embedded/commit.cc)
  add_custom_target(${target}_commit BYPRODUCTS ${out} VERBATIM COMMENT ""
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DSOURCE=${CMAKE_SOURCE_DIR} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake)
  target_sources(${target} PRIVATE ${out})
  add_dependencies(${target} ${target}_commit)
endfunction()

# elrea_check(<tool> [ARGS]): a script of tools/ that looks at the sources, as a test.
function(elrea_check tool)
  get_filename_component(name ${tool} NAME_WE)
  add_test(NAME ${name} COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tools/${tool} ${ARGN})
endfunction()

function(elrea_program name)
  cmake_parse_arguments(arg "" "FOLDER" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${arg_FOLDER}/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_(test|bench)|/main)\\.cc$")
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${arg_FOLDER}/main.cc)
    return()
  endif()
  add_library(elrea_${arg_FOLDER} STATIC ${sources})
  target_link_libraries(elrea_${arg_FOLDER} PUBLIC ${arg_DEPS})
  elrea_use_torch(elrea_${arg_FOLDER})
  add_executable(${name} ${arg_FOLDER}/main.cc)
  target_link_libraries(${name} PRIVATE elrea_${arg_FOLDER})
  elrea_use_torch(${name})
  elrea_test_program(${arg_FOLDER} "${tests}" elrea_${arg_FOLDER} TRUE)
endfunction()

function(elrea_cross_stage_tests folder)
  file(GLOB tests CONFIGURE_DEPENDS ${folder}/*.cc)
  if(tests AND TARGET elrea_cli)
    elrea_test_program(pipeline "${tests}" elrea_cli TRUE)
    add_dependencies(pipeline_tests elrea)
  endif()
endfunction()

function(elrea_benchmarks folder)
  add_custom_target(benchmarks)
  file(GLOB support CONFIGURE_DEPENDS ${folder}/*.cc)
  list(FILTER support EXCLUDE REGEX "_bench\\.cc$")
  add_library(elrea_${folder} STATIC EXCLUDE_FROM_ALL ${support})
  target_link_libraries(elrea_${folder} PUBLIC elrea_cli)
  target_compile_definitions(elrea_${folder} PRIVATE ELREA_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  elrea_use_torch(elrea_${folder})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*_bench.cc)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} EXCLUDE_FROM_ALL ${source})
    target_link_libraries(${name} PRIVATE elrea_${folder})
    elrea_use_torch(${name})
    add_dependencies(benchmarks ${name})
  endforeach()
endfunction()
