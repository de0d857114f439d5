# Defines hiredis::hiredis, as upstream's package does from 1.0 on. Debian's 0.14 has a package without
# targets, so there the header and the library are looked for.
find_package(hiredis CONFIG QUIET)
if(TARGET hiredis::hiredis)
  set(Hiredis_FOUND TRUE)
  return()
endif()

find_path(Hiredis_INCLUDE_DIR hiredis/read.h)
find_library(Hiredis_LIBRARY hiredis)
mark_as_advanced(Hiredis_INCLUDE_DIR Hiredis_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Hiredis REQUIRED_VARS Hiredis_LIBRARY Hiredis_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "install libhiredis-dev, or set CMAKE_PREFIX_PATH to where hiredis is")

if(Hiredis_FOUND)
  add_library(hiredis::hiredis UNKNOWN IMPORTED)
  set_target_properties(hiredis::hiredis PROPERTIES
    IMPORTED_LOCATION "${Hiredis_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Hiredis_INCLUDE_DIR}")
endif()
