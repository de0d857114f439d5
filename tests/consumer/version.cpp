// A program that links redlatch, for those ways to find it that the contract does not go.
#include <cstdio>

#include <redlatch/redlatch.hpp>

int main() {
  const redlatch::Client client;
  std::puts(REDLATCH_VERSION);
}
