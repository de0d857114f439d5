#pragma once

/// The version of these headers, by semantic versioning. CMake reads it from here.
#define REDLATCH_VERSION_MAJOR 0
#define REDLATCH_VERSION_MINOR 1
#define REDLATCH_VERSION_PATCH 0
#define REDLATCH_VERSION "0.1.0"
