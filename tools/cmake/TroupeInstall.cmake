# `cmake --install`: the program, the headers under include/troupe, the libraries, a CMake package
# (find_package(troupe): troupe::troupe for users of actors/troupe.h, troupe::actors for users of
# CAF, troupe::model and troupe::runtime for the rooms below, which need neither CAF nor ZeroMQ) and
# pkg-config files: troupe, and troupe-model for these rooms alone.
include(CMakePackageConfigHelpers)

# The whole library to link; among its dependencies, CAF is linked, but is not on the include path.
add_library(troupe_troupe INTERFACE)
target_link_libraries(troupe_troupe INTERFACE troupe_model troupe_runtime
  $<LINK_ONLY:troupe_http> $<LINK_ONLY:troupe_actors>)
set_target_properties(troupe_troupe PROPERTIES EXPORT_NAME troupe)
add_library(troupe::troupe ALIAS troupe_troupe)

set(TROUPE_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/troupe)
install(TARGETS troupe_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS troupe_troupe troupe_http troupe_actors troupe_model troupe_net troupe_runtime EXPORT troupeTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT troupeTargets NAMESPACE troupe:: DESTINATION ${TROUPE_PACKAGE_DIR})
foreach(room runtime model actors)
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${room}
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/troupe FILES_MATCHING PATTERN "*.h")
endforeach()
# Where systemd looks for units, whatever the libraries' folder is called.
install(FILES ${CMAKE_SOURCE_DIR}/tools/systemd/troupe.service DESTINATION lib/systemd/system)
install(FILES ${CMAKE_SOURCE_DIR}/tools/systemd/gpu.conf ${CMAKE_SOURCE_DIR}/SECURITY.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_package_config_file(${CMAKE_SOURCE_DIR}/tools/cmake/troupeConfig.cmake.in
  ${CMAKE_BINARY_DIR}/troupeConfig.cmake INSTALL_DESTINATION ${TROUPE_PACKAGE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/troupeConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/troupeConfig.cmake ${CMAKE_BINARY_DIR}/troupeConfigVersion.cmake
  ${CMAKE_SOURCE_DIR}/tools/cmake/FindCAF.cmake DESTINATION ${TROUPE_PACKAGE_DIR})

# Relative to the file itself, so that `cmake --install --prefix` may choose another place.
file(RELATIVE_PATH TROUPE_PC_TO_PREFIX
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(package troupe troupe-model)
  configure_file(${CMAKE_SOURCE_DIR}/tools/cmake/${package}.pc.in ${CMAKE_BINARY_DIR}/${package}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/${package}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
