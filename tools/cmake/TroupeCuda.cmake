# The room runtime/cuda: if there is nvcc of CUDA 13, the real half; otherwise none.cpp, which says that the
# program was built without CUDA. Nothing else in the build depends on which one it is. A build with
# sanitizers or for fuzzing takes none.cpp whatever TROUPE_CUDA says: its tests use the emulation.
set(TROUPE_CUDA AUTO CACHE STRING "Use GPUs by CUDA: AUTO (if nvcc is found), ON or OFF")
set_property(CACHE TROUPE_CUDA PROPERTY STRINGS AUTO ON OFF)
# The architectures for which the kernels are compiled; other GPUs compile the PTX when they start.
set(TROUPE_CUDA_ARCHITECTURES "90a" CACHE STRING "GPU architectures to compile for, such as 90a;100")

set(TROUPE_HAS_CUDA OFF)
if(NOT TROUPE_CUDA STREQUAL "OFF" AND NOT TROUPE_SANITIZE AND NOT TROUPE_FUZZ)
  find_program(TROUPE_NVCC nvcc HINTS $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
  if(TROUPE_NVCC)
    execute_process(COMMAND ${TROUPE_NVCC} --version OUTPUT_VARIABLE nvcc_version)
    string(REGEX MATCH "release ([0-9]+)" nvcc_release "${nvcc_version}")
    if(CMAKE_MATCH_1 GREATER_EQUAL 13)
      set(TROUPE_HAS_CUDA ON)
    endif()
  endif()
  if(TROUPE_CUDA STREQUAL "ON" AND NOT TROUPE_HAS_CUDA)
    message(FATAL_ERROR "TROUPE_CUDA is ON, but nvcc of CUDA 13 or later was not found; install the "
      "CUDA toolkit, or set TROUPE_CUDA to AUTO")
  endif()
endif()
message(STATUS "CUDA: ${TROUPE_HAS_CUDA}")

# troupe_add_cuda(TARGET): adds the room's sources to a static library. The CUDA runtime is linked
# into the object, and its names are hidden, so that users of the library need no toolkit.
function(troupe_add_cuda target)
  set(room ${CMAKE_SOURCE_DIR}/runtime/cuda)
  if(NOT TROUPE_HAS_CUDA)
    target_sources(${target} PRIVATE ${room}/none.cpp)
    return()
  endif()
  set(targets -gencode=arch=compute_80,code=compute_80)
  foreach(architecture IN LISTS TROUPE_CUDA_ARCHITECTURES)
    list(APPEND targets -gencode=arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  get_filename_component(toolkit ${TROUPE_NVCC} DIRECTORY)
  find_library(TROUPE_CUDART cudart_static REQUIRED HINTS ${toolkit}/../lib64 ${toolkit}/../lib)
  set(object ${CMAKE_BINARY_DIR}/cuda.o)
  # Contraction is off, as for every other compiler here. Status is [[nodiscard]], and nvcc warns
  # where one is assigned (2810). tools/dev/check_cuda.py compiles with the same flags.
  add_custom_command(OUTPUT ${object} DEPFILE ${CMAKE_BINARY_DIR}/cuda.d
    COMMAND ${TROUPE_NVCC} -optf ${room}/nvcc_flags ${targets}
      -I${CMAKE_BINARY_DIR}/include -MD -MT ${object} -MF ${CMAKE_BINARY_DIR}/cuda.d
      -c ${room}/cuda.cu -o ${CMAKE_BINARY_DIR}/cuda_alone.o
    COMMAND ${CMAKE_LINKER} -r ${CMAKE_BINARY_DIR}/cuda_alone.o ${TROUPE_CUDART} -o ${object}
    COMMAND ${CMAKE_OBJCOPY} -w --localize-symbol=cuda* --localize-symbol=__cuda* ${object}
    DEPENDS ${room}/cuda.cu ${room}/nvcc_flags VERBATIM COMMENT "Compiling the CUDA room")
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(${target} PRIVATE ${object})
  # The system libraries that the CUDA runtime needs.
  target_link_libraries(${target} PRIVATE dl rt)
endfunction()
