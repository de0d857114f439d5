#include "base/url.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/error.hpp>

#include "fake_executor.hpp"

namespace redlatch::detail {
namespace url_test {

using test::error_of;

bool same_place(const Endpoint& a, const Endpoint& b) {
  return a.host == b.host && a.port == b.port && a.path == b.path && a.database == b.database;
}

std::string complaint(std::string_view url) {
  const Error error = error_of([&] { return parse_url(url); });
  EXPECT_EQ(error.code(), Errc::invalid_argument) << url;
  return error.what();
}

/// Whether the message names the part that is wrong, before it lists the forms that are right.
testing::AssertionResult blames(std::string_view url, std::string_view part) {
  const std::string what = complaint(url);
  if (what.substr(0, what.find("; the forms are")).find(part) != std::string::npos) {
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << url << ": " << what << " does not name " << part;
}

TEST(Url, NamesAHost) {
  const Endpoint endpoint = parse_url("redis://example.org");
  EXPECT_EQ(endpoint.host, "example.org");
  EXPECT_EQ(endpoint.port, 6379);
  EXPECT_EQ(endpoint.database, 0);
  EXPECT_EQ(endpoint.user, "");
  EXPECT_EQ(endpoint.password, "");
  EXPECT_EQ(endpoint.path, "");
}

TEST(Url, NamesAPort) {
  EXPECT_EQ(parse_url("redis://host:1").port, 1);
  EXPECT_EQ(parse_url("redis://host:65535").port, 65535);
}

TEST(Url, NamesADatabase) {
  EXPECT_EQ(parse_url("redis://host/7").database, 7);
  EXPECT_EQ(parse_url("redis://host:6380/15").database, 15);
  EXPECT_EQ(parse_url("redis://host/").database, 0);
}

TEST(Url, NamesAUserAndAPassword) {
  const Endpoint endpoint = parse_url("redis://bob:s3cret@host:6380/2");
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "s3cret");
  EXPECT_EQ(endpoint.host, "host");
  EXPECT_EQ(endpoint.port, 6380);
  EXPECT_EQ(endpoint.database, 2);
}

TEST(Url, NamesAPasswordAlone) {
  const Endpoint endpoint = parse_url("redis://:s3cret@host");
  EXPECT_EQ(endpoint.user, "");
  EXPECT_EQ(endpoint.password, "s3cret");
}

TEST(Url, NamesAUserAlone) {
  const Endpoint endpoint = parse_url("redis://bob@host");
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "");
}

TEST(Url, DecodesUserAndPassword) {
  const Endpoint endpoint = parse_url("redis://b%6fb%3a%40:p%2Fq%3F%23%25%20@host");
  EXPECT_EQ(endpoint.user, "bob:@");
  EXPECT_EQ(endpoint.password, "p/q?#% ");
}

TEST(Url, TakesOddCharactersInAPasswordAsTheyAre) {
  for (const char* password : {"a/b", "a?b", "a#b", "a:b", "a@b", "@", ":", "[x]", "a b", "a+b",
                               "://", "\xc3\xa4", "/0", "a@h:1/2@b"}) {
    SCOPED_TRACE(password);
    const Endpoint endpoint = parse_url(std::string("redis://bob:") + password + "@host:7/3");
    EXPECT_EQ(endpoint.password, password);
    EXPECT_EQ(endpoint.user, "bob");
    EXPECT_EQ(endpoint.host, "host");
    EXPECT_EQ(endpoint.port, 7);
    EXPECT_EQ(endpoint.database, 3);
  }
}

TEST(Url, NamesAnIpv6AddressInBrackets) {
  const Endpoint endpoint = parse_url("redis://[2001:db8::1]:6380/1");
  EXPECT_EQ(endpoint.host, "2001:db8::1");
  EXPECT_EQ(endpoint.port, 6380);
  EXPECT_EQ(parse_url("redis://[::1]").host, "::1");
  EXPECT_EQ(parse_url("redis://[fe80::1%eth0]").host, "fe80::1%eth0");
  EXPECT_EQ(parse_url("redis://bob:x@[::1]:1").host, "::1");
}

/// RFC 6874, section 2.
TEST(Url, NamesTheZoneOfAnIpv6Address) {
  EXPECT_EQ(parse_url("redis://[fe80::1%25eth0]").host, "fe80::1%eth0");
  EXPECT_EQ(parse_url("redis://[fe80::1%25lo]:6380/1").host, "fe80::1%lo");
  EXPECT_EQ(parse_url("redis://[fe80::1%252]").host, "fe80::1%2");
  EXPECT_EQ(parse_url("redis://[fe80::1%25a%2Db]").host, "fe80::1%a-b");
  EXPECT_EQ(parse_url("redis://[fe80::1%25]").host, "fe80::1%25") << "the zone with this number";
  EXPECT_EQ(parse_url("redis://[fe80::1%eth0]").name(), "redis://[fe80::1%25eth0]:6379/0");
}

TEST(Url, NeedsAZoneThatCanBeOne) {
  EXPECT_TRUE(blames("redis://[fe80::1%]", "zone"));
  EXPECT_TRUE(blames("redis://[fe80::1%25a%]", "zone"));
  EXPECT_TRUE(blames("redis://[fe80::1%25a%zz]", "zone"));
  EXPECT_TRUE(blames("redis://[fe80::1%25a%00]", "host"));
  EXPECT_TRUE(blames("redis://[fe80::1%25a%20b]", "host"));
  EXPECT_TRUE(blames("redis://[fe80::1%25a%5Db]", "host"));
}

TEST(Url, NamesASocket) {
  const Endpoint endpoint = parse_url("unix:///run/redis.sock");
  EXPECT_EQ(endpoint.path, "/run/redis.sock");
  EXPECT_EQ(endpoint.database, 0);
  EXPECT_EQ(parse_url("unix:///run/redis.sock?db=3").database, 3);
}

TEST(Url, NamesAUserAndAPasswordForASocket) {
  const Endpoint endpoint = parse_url("unix://bob:s3cret@/run/redis.sock?db=3");
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "s3cret");
  EXPECT_EQ(endpoint.path, "/run/redis.sock");
  EXPECT_EQ(endpoint.database, 3);
  EXPECT_EQ(parse_url("unix://:s3cret@/s").password, "s3cret");
  EXPECT_EQ(parse_url("unix://bob@/s").user, "bob");
  EXPECT_EQ(parse_url("unix://b%6fb%3a%40:p%2Fq%3F%23%25%20@/s").user, "bob:@");
  EXPECT_EQ(parse_url("unix://b%6fb%3a%40:p%2Fq%3F%23%25%20@/s").password, "p/q?#% ");
  EXPECT_EQ(parse_url("unix://bob:x@/run/a%40b.sock").path, "/run/a@b.sock");
}

TEST(Url, TakesOddCharactersInThePasswordOfASocketAsTheyAre) {
  for (const char* password :
       {"a/b", "a?b", "a#b", "a:b", "a@b", "@", ":", "a b", "a@/b", "/?db=1"}) {
    SCOPED_TRACE(password);
    const Endpoint endpoint = parse_url(std::string("unix://bob:") + password + "@/run/s?db=3");
    EXPECT_EQ(endpoint.password, password);
    EXPECT_EQ(endpoint.user, "bob");
    EXPECT_EQ(endpoint.path, "/run/s");
    EXPECT_EQ(endpoint.database, 3);
  }
}

TEST(Url, TakesAnAtSignInThePathOfASocketForAPartOfIt) {
  const Endpoint endpoint = parse_url("unix:///run/a:b@/redis.sock");
  EXPECT_EQ(endpoint.path, "/run/a:b@/redis.sock");
  EXPECT_EQ(endpoint.password, "");
}

TEST(Url, DecodesThePathOfASocket) {
  EXPECT_EQ(parse_url("unix:///a%20b%3F%25.sock").path, "/a b?%.sock");
}

TEST(Url, IsPrintedWithoutUserAndPassword) {
  EXPECT_EQ(parse_url("redis://bob:s3cret@host/2").name(), "redis://host:6379/2");
  EXPECT_EQ(parse_url("redis://:s3cret@[::1]:1").name(), "redis://[::1]:1/0");
  EXPECT_EQ(parse_url("unix:///run/redis.sock").name(), "unix:///run/redis.sock");
  EXPECT_EQ(parse_url("unix:///run/redis.sock?db=3").name(), "unix:///run/redis.sock?db=3");
  EXPECT_EQ(parse_url("unix://bob:s3cret@/s?db=3").name(), "unix:///s?db=3");
}

TEST(Url, IsPrintedSoThatItCanBeReadAgain) {
  for (const char* url : {"redis://bob:x@host:1/2", "redis://[::1]:1/2", "redis://[fe80::1%eth0]",
                          "redis://[fe80::1%2525x%25y%2F]", "redis://[fe80::1%25]",
                          "unix:///x:y@/z", "redis://h\xc3\xb6st", "unix:///run/redis.sock?db=3",
                          "unix:///a%20b%3Fdb%3D1%25%0A%41.sock", "unix:///a#b@c:d"}) {
    SCOPED_TRACE(url);
    const Endpoint endpoint = parse_url(url);
    EXPECT_TRUE(same_place(parse_url(endpoint.name()), endpoint)) << endpoint.name();
  }
}

TEST(Url, NeedsAScheme) {
  EXPECT_TRUE(blames("", "scheme"));
  EXPECT_TRUE(blames("host:6379", "scheme"));
  EXPECT_TRUE(blames("redis:/host", "scheme"));
  EXPECT_TRUE(blames("://host", "scheme"));
  EXPECT_TRUE(blames("http://host", "scheme"));
  EXPECT_TRUE(blames(" redis://host", "scheme"));
  EXPECT_TRUE(blames("redis+tls://host", "scheme"));
}

TEST(Url, IsToldWhatIsWrongWithItsScheme) {
  EXPECT_TRUE(blames("redis:/host", "\"://\" is missing behind the scheme \"redis\""));
  EXPECT_TRUE(blames("Redis-Sentinel:h#s", "\"://\" is missing behind the scheme"));
  EXPECT_TRUE(blames("unix:/run/redis.sock", "\"://\" is missing behind the scheme \"unix\""));
  EXPECT_TRUE(blames("host:6379", "the scheme is missing"));
  EXPECT_TRUE(blames("reds://bob:s3cr3t@host", "the scheme \"reds\" is not one of redis, unix"));
  EXPECT_TRUE(blames("redis+tls://host", "the scheme \"redis+tls\" is not one of"));
  EXPECT_TRUE(blames("bob:s3cr3t@h://x", "the scheme is not one of"));
  EXPECT_TRUE(blames("://host", "the scheme is not one of"));
}

/// A password may end up in its place.
TEST(Url, ShowsNoSchemeThatCanBeNone) {
  for (const char* url : {"bob:s3cr3t://host", "s3cr3t@host://x", "bob:s3cr3t", "redis:s3cr3t",
                          "s3cr3t_://h", "1s3cr3t://h", "s3cr3t:6379"}) {
    EXPECT_EQ(complaint(url).find("s3cr3t"), std::string::npos) << url;
  }
}

TEST(Url, TakesAnyCaseOfTheScheme) {
  EXPECT_EQ(parse_url("REDIS://host").host, "host");
  EXPECT_EQ(parse_url("Unix:///s").path, "/s");
}

TEST(Url, NeedsAHost) {
  EXPECT_TRUE(blames("redis://", "host"));
  EXPECT_TRUE(blames("redis:///0", "host"));
  EXPECT_TRUE(blames("redis://:6379", "host"));
  EXPECT_TRUE(blames("redis://bob:x@", "host"));
  EXPECT_TRUE(blames("redis://bob:x@:6379/1", "host"));
  EXPECT_TRUE(blames("redis://[]:1", "host"));
}

TEST(Url, NeedsAHostThatCanBeOne) {
  EXPECT_TRUE(blames("redis://a b", "host"));
  EXPECT_TRUE(blames("redis://a\tb", "host"));
  EXPECT_TRUE(blames("redis://a\nb", "host"));
  EXPECT_TRUE(blames("redis://a]b", "host"));
  EXPECT_TRUE(blames("redis://a%41", "host"));
  EXPECT_TRUE(blames(std::string_view("redis://a\0b", 11), "host"));
  EXPECT_TRUE(blames("redis://[a%b]", "host"));
}

TEST(Url, NeedsBracketsAroundIpv6) {
  EXPECT_TRUE(blames("redis://::1", "bracket"));
  EXPECT_TRUE(blames("redis://::1:6379", "bracket"));
  EXPECT_TRUE(blames("redis://2001:db8::1", "bracket"));
  EXPECT_TRUE(blames("redis://[::1", "'['"));
  EXPECT_TRUE(blames("redis://[::1]x:1", "']'"));
  EXPECT_TRUE(blames("redis://[::1]]:1", "host"));
}

TEST(Url, NeedsAPortThatCanBeOne) {
  for (const char* port : {"", "0", "-1", "65536", "x", "1x", "+1", " 1", "99999999999999999999"}) {
    EXPECT_TRUE(
        blames(std::string("redis://host:") + port, "port is not a number from 1 to 65535"));
    EXPECT_TRUE(blames(std::string("redis://[::1]:") + port, "port"));
  }
}

TEST(Url, NeedsADatabaseThatCanBeOne) {
  for (const char* database : {"-1", "x", "1x", "+1", " 1", "1/2", "99999999999999999999"}) {
    EXPECT_TRUE(blames(std::string("redis://host/") + database, "database"));
    EXPECT_TRUE(blames(std::string("unix:///s?db=") + database, "database"));
  }
  EXPECT_TRUE(blames("unix:///s?db=", "database"));
}

TEST(Url, TakesNothingBehindTheDatabase) {
  EXPECT_TRUE(blames("redis://host/0?timeout=3", "database"));
  EXPECT_TRUE(blames("redis://host?db=3", "database"));
  EXPECT_TRUE(blames("redis://host/0#x", "database"));
}

TEST(Url, NeedsWholePercentEncodings) {
  for (const char* bad : {"%", "%4", "%4x", "%x4", "%%41", "% 4", "%-4", "%+4", "%0x"}) {
    EXPECT_TRUE(blames(std::string("redis://bob:x") + bad + "@host", "password"));
    EXPECT_TRUE(blames(std::string("redis://bob") + bad + ":x@host", "user"));
    EXPECT_TRUE(blames(std::string("unix:///path") + bad, "path"));
  }
}

TEST(Url, NeedsAnAbsolutePathForASocket) {
  EXPECT_TRUE(blames("unix://", "path"));
  EXPECT_TRUE(blames("unix://run/redis.sock", "path"));
  EXPECT_TRUE(blames("unix://bob:x@run/redis.sock", "path"));
  EXPECT_TRUE(blames("unix://bob:x@", "path"));
  EXPECT_TRUE(blames("unix://bob:x@/run/a@b.sock", "%40"));
  EXPECT_TRUE(blames("unix://?db=1", "path"));
}

TEST(Url, NeedsAPathThatFitsIntoAnAddress) {
  EXPECT_NO_THROW(parse_url("unix:///" + std::string(106, 'x')));
  EXPECT_TRUE(blames("unix:///" + std::string(107, 'x'), "path"));
  EXPECT_TRUE(blames("unix:///a%00b", "path"));
}

TEST(Url, TakesOnlyADatabaseAsTheQueryOfASocket) {
  EXPECT_TRUE(blames("unix:///s?", "query"));
  EXPECT_TRUE(blames("unix:///s?timeout=1", "query"));
  EXPECT_TRUE(blames("unix:///s?db", "query"));
}

TEST(Url, ListsTheFormsThatWork) {
  EXPECT_NE(complaint("nonsense").find("redis://"), std::string::npos);
  EXPECT_NE(complaint("nonsense").find("unix://"), std::string::npos);
  EXPECT_NE(complaint("nonsense").find("redis-cluster://"), std::string::npos);
}

TEST(Url, OfTlsHasThePartsOfOneWithout) {
  const Endpoint endpoint = parse_url("REDISS://bob:x%40y@h:1/3");
  EXPECT_TRUE(endpoint.tls);
  EXPECT_EQ(endpoint.host, "h");
  EXPECT_EQ(endpoint.port, 1);
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "x@y");
  EXPECT_EQ(endpoint.database, 3);
  EXPECT_EQ(endpoint.name(), "rediss://h:1/3");
  EXPECT_FALSE(parse_url("redis://h").tls);
}

TEST(Url, OfSentinelsHasTheirHostsAndTheService) {
  const Endpoint endpoint = parse_url("redis-sentinel://bob:x%40y@h1,[::1]:7,h3:8/2#or%23ders");
  EXPECT_EQ(endpoint.sentinels, (std::vector<Address>{{"h1", 26379}, {"::1", 7}, {"h3", 8}}));
  EXPECT_EQ(endpoint.service, "or#ders");
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "x@y");
  EXPECT_EQ(endpoint.database, 2);
  EXPECT_TRUE(endpoint.host.empty());
  EXPECT_FALSE(endpoint.tls);
  EXPECT_EQ(endpoint.name(), "redis-sentinel://h1:26379,[::1]:7,h3:8/2#or#ders");
  EXPECT_TRUE(parse_url("rediss-sentinel://h#s").tls);
  EXPECT_EQ(parse_url("rediss-sentinel://h#s").name(), "rediss-sentinel://h:26379/0#s");
  EXPECT_EQ(parse_url("redis-sentinel://h/#s%40%25").name(), "redis-sentinel://h:26379/0#s%40%25");
}

TEST(Url, OfSentinelsNamesThePartThatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"h", "the service is missing"},  {"h#", "the service is missing"},
      {"#s", "the host is missing"},    {"h,#s", "the host is missing"},
      {",h#s", "the host is missing"},  {"h,h:26379#s", "named twice"},
      {"h:x#s", "the port is not"},     {"h:0#s", "the port is not"},
      {"h/x#s", "the database is not"}, {"h?x#s", "it has a '?'"},
      {"[::1#s", "is not closed"},      {"h#%zz", "a '%' in the service"},
      {"a:1:2#s", "more than one ':'"}, {"h#a%20b", "the service has a space"}};
  for (const auto& [rest, part] : wrong) {
    const Error error = error_of([&rest = rest] { return parse_url("redis-sentinel://" + rest); });
    EXPECT_EQ(error.code(), Errc::invalid_argument) << rest;
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Url, OfAClusterHasTheHostsOfItsNodes) {
  const Endpoint endpoint = parse_url("redis-cluster://bob:x%40y@h1,[::1]:7,h3:8");
  EXPECT_EQ(endpoint.nodes, (std::vector<Address>{{"h1", 6379}, {"::1", 7}, {"h3", 8}}));
  EXPECT_EQ(endpoint.user, "bob");
  EXPECT_EQ(endpoint.password, "x@y");
  EXPECT_EQ(endpoint.database, 0);
  EXPECT_TRUE(endpoint.host.empty());
  EXPECT_TRUE(endpoint.sentinels.empty());
  EXPECT_FALSE(endpoint.tls);
  EXPECT_EQ(endpoint.name(), "redis-cluster://h1:6379,[::1]:7,h3:8");
  EXPECT_TRUE(parse_url("REDISS-Cluster://h").tls);
  EXPECT_EQ(parse_url("rediss-cluster://:x@h").name(), "rediss-cluster://h:6379");
  EXPECT_TRUE(parse_url("redis://h").nodes.empty());
  EXPECT_TRUE(parse_url("redis-sentinel://h#s").nodes.empty());
}

TEST(Url, OfAClusterMayNameTheOnlyDatabase) {
  for (const char* url : {"redis-cluster://h/", "redis-cluster://h/0", "redis-cluster://h,i:2/0"}) {
    EXPECT_EQ(parse_url(url).database, 0) << url;
  }
}

TEST(Url, OfAClusterIsPrintedSoThatItCanBeReadAgain) {
  for (const char* url : {"redis-cluster://bob:x@h", "rediss-cluster://h1,h2:7",
                          "redis-cluster://[::1],[fe80::1%25eth0]:7,h"}) {
    const Endpoint endpoint = parse_url(url);
    const Endpoint again = parse_url(endpoint.name());
    EXPECT_EQ(again.nodes, endpoint.nodes) << url;
    EXPECT_EQ(again.tls, endpoint.tls) << url;
    EXPECT_EQ(again.name(), endpoint.name()) << url;
  }
}

TEST(Url, OfAClusterNamesThePartThatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "the host is missing"},
      {",", "the host is missing"},
      {"h,", "the host is missing"},
      {",h", "the host is missing"},
      {"bob:x@", "the host is missing"},
      {"h,h:6379", "the same node is named twice"},
      {"h:7,i,h:7", "the same node is named twice"},
      {"[::1],[::1]:6379", "the same node is named twice"},
      {"h/1", "a cluster has no database but 0"},
      {"h,i/15", "a cluster has no database but 0"},
      {"h/x", "the database is not"},
      {"h/-1", "the database is not"},
      {"h/0,i", "the database is not"},
      {"h:x", "the port is not"},
      {"h:0", "the port is not"},
      {"h,i:65536", "the port is not"},
      {"h#orders", "nothing may follow the hosts"},
      {"h?db=0", "nothing may follow the hosts"},
      {"[::1", "is not closed"},
      {"::1", "bracket"},
      {"h, i", "the host"},
      {"a:1:2", "more than one ':'"}};
  for (const auto& [rest, part] : wrong) {
    EXPECT_TRUE(blames("redis-cluster://" + rest, part));
    EXPECT_TRUE(blames("rediss-cluster://" + rest, part));
  }
}

TEST(Url, NeedsASchemeThatIsBuilt) {
  for (const char* scheme : {"redis-", "redis-clusters", "redis-Clusterx", "rediscluster",
                             "rediss-", "redisss", "redis-redis", "valkey"}) {
    EXPECT_TRUE(blames(std::string(scheme) + "://h", "is not one of")) << scheme;
  }
}

/// All that a user gets to see of a URL.
std::string shown(std::string_view url) {
  try {
    return parse_url(url).name();
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(Url, NeverShowsThePassword) {
  const std::string secret = "s3cr3tX";
  for (const char* odd : {"",  "/",   "?", "#",  "@/",       ":",    "@",   "%",  "%zz", "%4", "[",
                          "]", "://", " ", "\n", "redis://", "\xff", "%00", "\\", "'",   "\""}) {
    for (const std::string& password : {secret + odd, odd + secret, secret + odd + secret}) {
      for (const char* rest :
           {"@", "@:0", "@host", "@host:x", "@host/x", "@[::1", "@a b", "@host:1:2", "@host/0?x",
            "@/path", "@/path?x", "@path", "@host?db=x"}) {
        for (const char* scheme :
             {"redis", "rediss", "unix", "redis-sentinel", "redis-cluster", "http", ""}) {
          const std::string url = std::string(scheme) + "://bob:" + password + rest;
          EXPECT_EQ(shown(url).find(secret), std::string::npos) << url;
        }
      }
    }
  }
}

TEST(Url, NeverShowsAPasswordWhoseHostWasForgotten) {
  for (const char* url : {"redis://bob:s3cr3tX", "redis://:s3cr3tX", "redis://bob:s3cr3tX/0",
                          "bob:s3cr3tX@host", "s3cr3tX", "unix://bob:s3cr3tX", "redis:s3cr3tX",
                          "redis-cluster://bob:s3cr3tX", "redis-cluster://bob:s3cr3tX,h2",
                          "redis-cluster://bob:s3cr3tX@h,h", "redis-cluster://:s3cr3tX@h/1"}) {
    EXPECT_EQ(shown(url).find("s3cr3tX"), std::string::npos) << url;
  }
}

}  // namespace url_test
}  // namespace redlatch::detail
