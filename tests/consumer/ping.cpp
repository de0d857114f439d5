// Prints what comes of asking a server: ping URL

#include <cstdio>

#include <redlatch/redlatch.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  try {
    redlatch::Client(argv[1]).ping();
    std::puts("pong");
  } catch (const redlatch::Error& error) {
    std::printf("%s: %s\n", error.code().message().c_str(), error.what());
  }
}
