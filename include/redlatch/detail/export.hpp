#pragma once

/// Marks what a shared library shows; everything else is built hidden.
#define REDLATCH_API __attribute__((visibility("default")))

/// Marks what a class that is shown keeps to the library.
#define REDLATCH_LOCAL __attribute__((visibility("hidden")))
