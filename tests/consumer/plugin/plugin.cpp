#include <redlatch/redlatch.hpp>

/// Throws the error of a server that does not exist.
extern "C" __attribute__((visibility("default"))) void ask_nowhere() {
  redlatch::Client("redis://127.0.0.1:1").ping();
}
