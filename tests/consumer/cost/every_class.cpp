#include <redlatch/redlatch.hpp>

int main() {
  redlatch::Client client;
  redlatch::Quorum nodes{"redis://a", "redis://b", "redis://c"};
  const redlatch::Lock lock(client, "a");
  const redlatch::FairLock fair(client, "b");
  const redlatch::ReadLock reader(client, "c");
  const redlatch::WriteLock writer(client, "d");
  const redlatch::RecursiveLock recursive(client, "e");
  const redlatch::MultiLock several(client, {"f", "g"});
  const redlatch::Permit permit(client, "h", 3);
  const redlatch::Redlock majority(nodes, "i");
}
