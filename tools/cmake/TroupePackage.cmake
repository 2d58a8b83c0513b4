# `cmake --build build/release --target package`: a Debian package of what `cmake --install`
# installs, so that a machine needs no compiler. dpkg-shlibdeps finds the libraries to which the program
# links; building against the library needs the development packages as well.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME troupe)
set(CPACK_PACKAGE_VENDOR Troupe)
set(CPACK_PACKAGE_CONTACT "The Troupe developers <troupe@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Runs transformer models across machines")
set(CPACK_PACKAGE_DESCRIPTION "The program troupe, whose daemons share the layers of a model, and the
library to embed it in C++20 programs.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "python3-pip, g++, cmake, pkg-config, libcaf-dev, libzmq3-dev, \
libsodium-dev, libssl-dev, libhwy-dev, libxxhash-dev, libpcre2-dev, libutf8proc-dev, libsqlite3-dev, nlohmann-json3-dev")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/tools/systemd/postinst)
include(CPack)
