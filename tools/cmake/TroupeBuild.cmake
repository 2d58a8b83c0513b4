# Flags shared by every target. Bits must not depend on the compiler's liberties: no contraction of
# a*b+c, no fast-math, the baseline instruction set everywhere but in the kernels' own targets.
add_library(troupe_flags INTERFACE)
target_compile_options(troupe_flags INTERFACE
  -Wall -Wextra -Werror -Wno-missing-field-initializers -ffp-contract=off -fno-fast-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlaps and overflows in std::string and std::vector that are not there (its bugs
  # 105651 and 107852).
  target_compile_options(troupe_flags INTERFACE -Wno-restrict -Wno-stringop-overflow
    -Wno-maybe-uninitialized)
endif()
if(TROUPE_SANITIZE)
  # A finding ends the program: UBSan would otherwise print a line and let the test pass.
  target_compile_options(troupe_flags INTERFACE -fsanitize=${TROUPE_SANITIZE}
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(troupe_flags INTERFACE -fsanitize=${TROUPE_SANITIZE})
endif()

find_program(TROUPE_CCACHE ccache)
if(TROUPE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${TROUPE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${TROUPE_CCACHE})
endif()
find_program(TROUPE_MOLD mold)
if(TROUPE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# troupe_room(NAME DEPENDS target...): one static library from every .cpp below the current folder,
# or below FOLDER of it, but for those whose path EXCLUDE (a regular expression) matches.
function(troupe_room name)
  cmake_parse_arguments(ROOM "" "FOLDER;EXCLUDE" "DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  set(folder ${CMAKE_CURRENT_SOURCE_DIR})
  if(ROOM_FOLDER)
    string(APPEND folder /${ROOM_FOLDER})
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(ROOM_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "^${folder}${ROOM_EXCLUDE}")
  endif()
  add_library(troupe_${name} STATIC ${sources})
  target_include_directories(troupe_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(troupe_${name} PUBLIC cxx_std_20)
  target_link_libraries(troupe_${name} PUBLIC ${ROOM_DEPENDS}
    PRIVATE $<BUILD_INTERFACE:troupe_flags> ${ROOM_PRIVATE_DEPENDS})
  set_target_properties(troupe_${name} PROPERTIES EXPORT_NAME ${name})
  add_library(troupe::${name} ALIAS troupe_${name})
endfunction()

# For rooms without hot loops: -O2 for -O3, and precompiled headers that ccache understands.
function(troupe_compile_quickly target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O2>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  endif()
endfunction()
