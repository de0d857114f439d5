include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/redlatch)

install(TARGETS redlatch EXPORT redlatch FILE_SET HEADERS)
install(FILES ${src_hpp} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/redlatch)
install(EXPORT redlatch NAMESPACE redlatch:: FILE redlatchTargets.cmake DESTINATION ${package_dir})

configure_package_config_file(cmake/redlatchConfig.cmake.in redlatchConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(redlatchConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/redlatchConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/redlatchConfigVersion.cmake
  cmake/redlatchHiredis.cmake
  DESTINATION ${package_dir})

# Relative to the file itself, so that an installed tree can be moved. A directory that is absolute stays so.
file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
set(pc_libdir "\${prefix}")
cmake_path(APPEND pc_libdir "${CMAKE_INSTALL_LIBDIR}")
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
set(pc_requires_private "hiredis")
if(NOT hiredis_major STREQUAL "")
  math(EXPR next_major "${hiredis_major} + 1")
  set(pc_requires_private "hiredis >= ${hiredis_major}, hiredis < ${next_major}")
endif()
if(REDLATCH_TLS)
  string(APPEND pc_requires_private ", libssl, libcrypto")
endif()
if(BUILD_SHARED_LIBS)
  set(pc_requires_private "")
endif()
configure_file(cmake/redlatch.pc.in redlatch.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/redlatch.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
