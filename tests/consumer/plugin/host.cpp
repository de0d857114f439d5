// A program that loads a plugin, both with a static redlatch: host PLUGIN

#include <dlfcn.h>

#include <cstdio>

#include <redlatch/redlatch.hpp>

namespace {

using redlatch::Errc;

/// Returns an exit status.
int check(const redlatch::Error& error) {
  if (&error.code().category() == &redlatch::error_category()) return 3;  // not two copies
  if (!(error.code() == Errc::unreachable)) return 4;
  if (!(Errc::unreachable == error.code())) return 5;
  if (error.code() != Errc::unreachable) return 6;
  if (error.code() == Errc::timed_out) return 7;
  const std::error_code ours = Errc::unreachable;
  if (error.code() != ours.default_error_condition()) return 8;
  if (ours != error.code().default_error_condition()) return 9;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  void* const plugin = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (plugin == nullptr) {
    std::fprintf(stderr, "%s\n", ::dlerror());
    return 1;
  }
  const auto ask_nowhere = reinterpret_cast<void (*)()>(::dlsym(plugin, "ask_nowhere"));
  try {
    ask_nowhere();
  } catch (const redlatch::Error& error) {
    return check(error);
  }
  return 2;
}
