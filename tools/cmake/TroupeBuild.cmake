# Flags shared by every target. Bits must not depend on the compiler's liberties: no contraction of
# a*b+c, no fast-math, the baseline instruction set everywhere but in the kernels' own targets.
add_library(troupe_flags INTERFACE)
target_compile_options(troupe_flags INTERFACE
  -Wall -Wextra $<$<BOOL:${TROUPE_WARNINGS_ARE_ERRORS}>:-Werror>
  -Wno-missing-field-initializers -ffp-contract=off -fno-fast-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlaps and overflows in std::string and std::vector that are not there (its bugs
  # 105651 and 107852).
  target_compile_options(troupe_flags INTERFACE -Wno-restrict -Wno-stringop-overflow
    -Wno-maybe-uninitialized)
  # GCC collects its garbage less often, which saves a few per cent of the time for a fifth more memory.
  target_compile_options(troupe_flags INTERFACE
    "SHELL:--param ggc-min-expand=200" "SHELL:--param ggc-min-heapsize=500000")
endif()
if(TROUPE_SANITIZE)
  # A finding ends the program; otherwise UBSan would print a line and let the test pass.
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

# troupe_room(NAME DEPENDS target...): makes one static library from every .cpp file below the current folder,
# or below its FOLDER, except those whose path matches EXCLUDE (a regular expression).
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
# than their own lines. Files in SKIP, and files with compile options of their own, stay alone. So names in the
# anonymous namespaces of one folder must differ, which tools/dev/check_rooms.py checks for constants and types. The
# debug and sanitizer presets switch this off, so that every file is also seen to include what it uses.
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

# Compiles the vector kernels SOURCES, paths below the top of the tree, BATCH at a time: Highway's headers,
# which are parsed once for each target, cost more than most of the kernels. Files are alone under the same
# conditions as those of troupe_compile_together.
function(troupe_compile_kernels_together target)
  cmake_parse_arguments(TOGETHER "" "BATCH" "SOURCES" ${ARGN})
  if(NOT TROUPE_UNITY)
    return()
  endif()
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/kernel_groups)
  while(TOGETHER_SOURCES)
    list(SUBLIST TOGETHER_SOURCES 0 ${TOGETHER_BATCH} batch)
    list(REMOVE_ITEM TOGETHER_SOURCES ${batch})
    list(GET batch 0 first)
    cmake_path(GET first STEM name)
    set(name from_${name}.cpp)
    set(text "#define TROUPE_KERNEL_GROUP\n#undef HWY_TARGET_INCLUDE\n")
    string(APPEND text "#define HWY_TARGET_INCLUDE <${name}>\n")
    string(APPEND text "#include <troupe/runtime/kernels/vector/foreach_target.h>\n")
    foreach(source IN LISTS batch)
      string(APPEND text "#include <troupe/${source}>\n")
      set_source_files_properties(${PROJECT_SOURCE_DIR}/${source} PROPERTIES HEADER_FILE_ONLY ON)
    endforeach()
    file(CONFIGURE OUTPUT ${folder}/${name} CONTENT "${text}" @ONLY)
    target_sources(${target} PRIVATE ${folder}/${name})
  endwhile()
  target_include_directories(${target} PRIVATE ${folder})
endfunction()

# For targets without hot loops: LEVEL (-Og, -O1, -O2) instead of -O3 in a release build, and
# precompiled headers that ccache understands.
function(troupe_compile_quickly target level)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:${level}>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Below -O3, GCC 12 warns of copies beyond the ends of a std::string where there are none.
    target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-array-bounds
      -Wno-stringop-overread)
  endif()
endfunction()
