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

# Compiles the .cpp files of each folder in FOLDERS together, BATCH at a time: their headers cost more
# than their own lines. Files in SKIP, and files with compile options of their own, stay alone. Names in
# the anonymous namespaces of one folder therefore differ, which tools/dev/check_rooms.py checks for
# constants and types. The debug and sanitizer presets switch this off, so that every file is also seen
# to include what it uses.
option(TROUPE_UNITY "Compile the files of a folder together" ON)
function(troupe_compile_together target)
  cmake_parse_arguments(TOGETHER "" "BATCH" "FOLDERS;SKIP" ${ARGN})
  if(NOT TROUPE_UNITY)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  foreach(folder IN LISTS TOGETHER_FOLDERS)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cpp)
    string(MAKE_C_IDENTIFIER ${folder} name)
    set(count 0)
    foreach(source IN LISTS sources)
      cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE path)
      if(path IN_LIST TOGETHER_SKIP)
        continue()
      endif()
      math(EXPR batch "${count} / ${TOGETHER_BATCH}")
      math(EXPR count "${count} + 1")
      set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${name}_${batch})
    endforeach()
  endforeach()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # A class of a .cpp file may hold types of its anonymous namespace; GCC warns where it takes the
    # file for a header.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

# For targets without hot loops: LEVEL (-Og, -O1, -O2) instead of -O3 in a release build, and
# precompiled headers that ccache understands.
function(troupe_compile_quickly target level)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:${level}>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 below -O3 sees copies beyond the ends of a std::string where there are none.
    target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-array-bounds
      -Wno-stringop-overread)
  endif()
endfunction()
