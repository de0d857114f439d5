#pragma once
#include "read.h"

#define HIREDIS_MAJOR 1
#define HIREDIS_MINOR 4
#define HIREDIS_PATCH 1
#define HIREDIS_SONAME 1.4.1
