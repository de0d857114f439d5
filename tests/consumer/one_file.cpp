// A program of one source file that does not link the library: one_file URL
#include <cstdio>

#include <redlatch/redlatch.hpp>
#include <redlatch/src.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  redlatch::Client client(argv[1]);
  redlatch::Lock lock(client, "job:42");
  const redlatch::Lock other(client, "job:42", std::try_to_lock);
  if (!lock.owns_lock() || other.owns_lock()) return 1;
  if (lock.unlock() != redlatch::Unlock::released) return 2;
  std::puts("held and released");
}
