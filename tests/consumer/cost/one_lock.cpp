#include <redlatch/redlatch.hpp>

int main() {
  redlatch::Client client;
  const redlatch::Lock lock(client, "job:42");
}
