#pragma once

/// Marks what a shared library shows; everything else is built hidden.
#define REDLATCH_API __attribute__((visibility("default")))
