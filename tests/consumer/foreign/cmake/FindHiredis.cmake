# As many projects have it: variables, and no target.
find_path(FOREIGN_HIREDIS_INCLUDE_DIR hiredis/hiredis.h)
find_library(FOREIGN_HIREDIS_LIBRARY hiredis)
set(HIREDIS_INCLUDE_DIRS "${FOREIGN_HIREDIS_INCLUDE_DIR}")
set(HIREDIS_LIBRARIES "${FOREIGN_HIREDIS_LIBRARY}")
set(HIREDIS_FOUND TRUE)
