#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/reply.hpp>

#include "replies.hpp"

namespace redlatch::protocol {
namespace reply_test {

using test::array;
using test::integer;
using test::nil;
using test::ok;
using test::refusal;
using test::status;
using test::text;

constexpr std::string_view acl_in_script =
    "ERR The user executing the script can't run this command or subcommand script: "
    "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:1.";
/// By Valkey 8.0 and Redis 8.0.
constexpr std::string_view acl_failure_in_script =
    "ERR ACL failure in script: User worker has no permissions to run the 'time' command script: "
    "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:2.";
constexpr std::string_view redis_6 =
    "ERR Error running script (call to f_cfa4e6df953aa8e98dfc77aeb56b8af026b12633): ";

std::string in_redis_6(std::string_view what) { return std::string(redis_6).append(what); }

std::string message(const std::string& reply, Errc code = Errc::protocol_error) {
  const Error error = to_error(refusal(reply), "job", "redis://host:6379/0", false);
  EXPECT_EQ(error.code(), code);
  return error.what();
}

TEST(Vote, IsYesForOkAndForOne) {
  EXPECT_EQ(vote(ok()), Vote::yes);
  EXPECT_EQ(vote(integer(1)), Vote::yes);
}

TEST(Vote, IsNoForNilAndForZero) {
  EXPECT_EQ(vote(nil()), Vote::no);
  EXPECT_EQ(vote(integer(0)), Vote::no);
}

TEST(Vote, IsRefusedForAnyError) { EXPECT_EQ(vote(refusal("ERR no")), Vote::refused); }

TEST(Vote, IsNotYesForAnythingElse) {
  for (const Reply& reply : {status("QUEUED"), text("OK"), array({ok()}), status("")}) {
    EXPECT_EQ(vote(reply), Vote::no);
  }
}

TEST(ReplyTtl, IsWhatPttlSays) {
  const auto life = [](std::int64_t said) {
    const Reply reply = integer(said);
    return life_in(&reply);
  };
  EXPECT_EQ(life(5), std::chrono::milliseconds(5));
  EXPECT_EQ(life(0), std::chrono::milliseconds(0));
  EXPECT_EQ(life(-2), std::chrono::milliseconds(0)) << "there is no such key";
  EXPECT_EQ(life(-1), std::nullopt) << "it has no expiry";
  const Reply other = status("QUEUED");
  EXPECT_EQ(life_in(&other), std::nullopt);
  EXPECT_EQ(life_in(nullptr), std::nullopt);
}

/// 317 years are more nanoseconds than 64 bits have room for; a score of infinity becomes the
/// smallest of all numbers.
TEST(ReplyTtl, NeverOverflows) {
  for (const std::int64_t said : {std::int64_t{9'999'999'999'000}, INT64_MAX}) {
    const Reply reply = integer(said);
    EXPECT_EQ(life_in(&reply), max_life);
    EXPECT_GT(std::chrono::nanoseconds(*life_in(&reply)), std::chrono::years(99));
  }
  for (const std::int64_t said : {std::int64_t{-3}, INT64_MIN}) {
    const Reply reply = integer(said);
    EXPECT_EQ(life_in(&reply), std::nullopt);
  }
}

TEST(ReplyUptime, IsWithinACentury) {
  const auto uptime = [](const std::string& said) {
    return uptime_in(text("# Server\r\nuptime_in_seconds:" + said + "\r\n")).count();
  };
  EXPECT_EQ(uptime("17"), 17);
  EXPECT_EQ(uptime("9223372036854775807"), 100LL * 31'556'952);
  EXPECT_EQ(uptime("-9223372036854775808"), 0);
  EXPECT_EQ(uptime("99999999999999999999"), 0) << "no number that can be read";
  EXPECT_EQ(uptime("long"), 0);
  EXPECT_EQ(uptime_in(text("")).count(), 0);
}

TEST(QueueStatus, IsGoneForNumbersThatNoScriptGives) {
  for (const std::int64_t said : {6, 7, -2, -7, 800'006}) {
    EXPECT_EQ(status(integer(said)), QueueStatus::gone) << said;
  }
  EXPECT_EQ(status(integer(INT64_MIN)), QueueStatus::gone);
  EXPECT_EQ(expiry(integer(INT64_MIN)), 0);
  EXPECT_EQ(status(integer(80'003)), QueueStatus::first);
  EXPECT_EQ(expiry(integer(80'003)), 10'000);
}

TEST(ReplyClassify, KnowsWhoCannotWriteNow) {
  for (const char* word : {"READONLY", "UNBLOCKED", "LOADING", "MASTERDOWN", "MISCONF", "OOM",
                           "NOREPLICAS", "BUSY", "CLUSTERDOWN", "TRYAGAIN"}) {
    SCOPED_TRACE(word);
    EXPECT_EQ(classify(word), Errc::not_writable);
    EXPECT_EQ(classify(std::string(word) + " and why"), Errc::not_writable);
  }
}

TEST(ReplyClassify, KnowsWhoWasNotLetIn) {
  EXPECT_EQ(classify("NOAUTH Authentication required."), Errc::authentication_failed);
  EXPECT_EQ(classify("WRONGPASS invalid username-password pair or user is disabled."),
            Errc::authentication_failed);
}

TEST(ReplyClassify, KnowsWhatIsNotPermitted) {
  EXPECT_EQ(classify("NOPERM this user has no permissions to access one of the keys used"),
            Errc::not_permitted);
  EXPECT_EQ(classify("DENIED Redis is running in protected mode"), Errc::not_permitted);
}

TEST(ReplyClassify, KnowsThePermissionsInsideAScript) {
  EXPECT_EQ(classify(acl_in_script), Errc::not_permitted);
  EXPECT_EQ(classify(acl_failure_in_script), Errc::not_permitted);
  EXPECT_EQ(classify(in_redis_6("@user_script:1: @user_script: 1: The user executing the script "
                                "can't run this command or subcommand")),
            Errc::not_permitted);
}

TEST(ReplyClassify, KnowsAKeyOfAnotherKind) {
  EXPECT_EQ(classify("WRONGTYPE Operation against a key holding the wrong kind of value"),
            Errc::wrong_type);
  EXPECT_EQ(classify("WRONGTYPE Operation against a key holding the wrong kind of value script: "
                     "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:1."),
            Errc::wrong_type);
}

TEST(ReplyClassify, KnowsWhatRedis6SaysInsideAScript) {
  EXPECT_EQ(classify(in_redis_6("@user_script:1: @user_script: 1: -READONLY You can't write "
                                "against a read only replica.")),
            Errc::not_writable);
  EXPECT_EQ(classify(in_redis_6("@user_script:1: @user_script: 1: -OOM command not allowed when "
                                "used memory > 'maxmemory'.")),
            Errc::not_writable);
  EXPECT_EQ(classify(in_redis_6("@user_script:1: @user_script: 1: -MISCONF Redis is configured to "
                                "save RDB snapshots, but it is currently not able to persist")),
            Errc::not_writable);
  EXPECT_EQ(classify(in_redis_6("@user_script:1: WRONGTYPE Operation against a key holding the "
                                "wrong kind of value")),
            Errc::wrong_type);
}

TEST(ReplyClassify, KnowsWhatKeepsATransactionFromBeingCarriedOut) {
  EXPECT_EQ(classify("EXECABORT Transaction discarded because of: MISCONF Redis is configured to"),
            Errc::not_writable);
  EXPECT_EQ(classify("EXECABORT Transaction discarded because of previous errors."),
            Errc::protocol_error);
}

TEST(ReplyClassify, IsNotMisledByArguments) {
  const std::string reply = "ERR unknown command 'EVALSHA', with args beginning with: ";
  for (const char* key : {"'@user_script:1.'", "'The user executing the script'", "'-OOM '"}) {
    EXPECT_EQ(classify(reply + key), Errc::unsupported) << key;
    EXPECT_TRUE(refuses_command(reply + key)) << key;
    EXPECT_FALSE(leaves_script_in_doubt(reply + key)) << key;
  }
}

TEST(ReplyClassify, KnowsAServerThatIsFull) {
  EXPECT_EQ(classify("ERR max number of clients reached"), Errc::unreachable);
  EXPECT_EQ(classify("ERR max number of clients + cluster connections reached"), Errc::unreachable);
}

TEST(ReplyClassify, KnowsAMissingCommand) {
  EXPECT_EQ(classify("ERR unknown command 'DELEX', with args beginning with: 'a' 'b' "),
            Errc::unsupported);
}

TEST(ReplyClassify, KnowsAPasswordTooMany) {
  constexpr const char* text =
      "ERR AUTH <password> called without any password configured for the default user. Are you "
      "sure your configuration is correct?";
  EXPECT_EQ(classify(text), Errc::authentication_failed);
  EXPECT_TRUE(explain(text).ends_with("; give no password, or set one there"));
}

TEST(ReplyExplain, SaysWhatToDo) {
  EXPECT_EQ(
      explain("WRONGPASS invalid"),
      "the server said \"WRONGPASS invalid\"; check user and password in the URL, or what "
      "ClientOptions::credentials gives, and that the server has this user, switched on, with "
      "this password");
  EXPECT_NE(explain("OOM command not allowed"), explain("READONLY You can't write"));
  EXPECT_TRUE(explain("NOAUTH Authentication required.")
                  .ends_with("give a password, in the URL or by ClientOptions::credentials"));
  EXPECT_TRUE(explain("ERR max number of clients reached").ends_with("; raise its maxclients"));
}

/// Who uses a lock does not know its scripts.
TEST(ReplyExplain, SaysNothingOfTheScriptThatMetAKnownRefusal) {
  constexpr std::string_view wrong_type =
      "the server said \"WRONGTYPE Operation against a key holding the wrong kind of value\"; use "
      "another key";
  EXPECT_EQ(explain("WRONGTYPE Operation against a key holding the wrong kind of value script: "
                    "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:1."),
            wrong_type);
  EXPECT_EQ(explain(in_redis_6("@user_script:1: WRONGTYPE Operation against a key holding the "
                               "wrong kind of value")),
            wrong_type);
  EXPECT_EQ(explain("OOM command not allowed when used memory > 'maxmemory'. script: "
                    "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:7."),
            explain("OOM command not allowed when used memory > 'maxmemory'."));
  for (const std::string& refusal :
       {std::string(acl_in_script), in_redis_6("@user_script:1: @user_script: 1: -READONLY no"),
        in_redis_6("@user_script:1: @user_script: 1: The user executing the script can't run this "
                   "command or subcommand")}) {
    EXPECT_EQ(explain(refusal).find("cfa4e6df"), std::string::npos) << explain(refusal);
    EXPECT_EQ(explain(refusal).find("user_script"), std::string::npos) << explain(refusal);
  }
}

TEST(ReplyExplain, NamesTheCommandThatIsNotPermittedInAScript) {
  EXPECT_EQ(explain(acl_failure_in_script),
            "the server said \"ERR ACL failure in script: User worker has no permissions to run "
            "the 'time' command\"; give the user the rights that docs/permissions.md lists");
}

/// A client finds out that scripts are refused, and goes on with WATCH.
TEST(ReplyExplain, NamesTheRightsToScriptsWhereWatchIsNotPermitted) {
  for (const char* refusal : {"NOPERM this user has no permissions to run the 'watch' command",
                              "NOPERM User worker has no permissions to run the 'watch' command"}) {
    EXPECT_EQ(classify(refusal), Errc::not_permitted);
    EXPECT_TRUE(explain(refusal).ends_with(
        "; give the user the rights to EVAL and EVALSHA, or those that docs/permissions.md lists "
        "for a client without scripting"))
        << explain(refusal);
  }
}

/// Redis 7.0 does not say which command, or which key.
TEST(ReplyExplain, SaysWhereThatIsNamedWhichIsNotPermittedInAScript) {
  for (const std::string& refusal :
       {std::string(acl_in_script), in_redis_6("@user_script:1: @user_script: 1: The user "
                                               "executing the script can't run this command or "
                                               "subcommand")}) {
    EXPECT_TRUE(explain(refusal).ends_with(
        "; give the user the rights that docs/permissions.md lists; ACL LOG at the server has "
        "what was refused"))
        << explain(refusal);
  }
}

/// So that maintainers of the library can find the place.
TEST(ReplyExplain, QuotesAllOfAnUnknownErrorInAScript) {
  constexpr std::string_view odd =
      "ERR nobody is served script: cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:9.";
  EXPECT_EQ(explain(odd), "the server said \"" + std::string(odd) + "\"");
}

/// It may be the lock of another client.
TEST(ReplyExplain, NeverAdvisesToDeleteAKey) {
  for (const char* reply : {"WRONGTYPE no", "NOLOCK mail is no queue of a lock",
                            "NOLOCK the key is a lock of another class", "OOM no", "LIMIT no"}) {
    EXPECT_EQ(explain(reply).find("delete"), std::string::npos) << explain(reply);
  }
}

TEST(ReplyExplain, OnlyQuotesWhatItDoesNotKnow) {
  EXPECT_EQ(explain("ERR what"), "the server said \"ERR what\"");
}

TEST(ReplyClassify, TakesAnythingElseForAProtocolError) {
  for (const char* reply : {"", "ERR", "ERR syntax error", "MOVED 1 127.0.0.1:1", "readonly",
                            "READONLYNESS is new", " OOM", "EXECABORT Transaction discarded",
                            "NOSCRIPT No matching script.", "ERR Error running script"}) {
    EXPECT_EQ(classify(reply), Errc::protocol_error) << reply;
  }
}

TEST(ReplyDoubt, IsLeftByWhatHappensInsideAScript) {
  for (const std::string& reply :
       {std::string(acl_in_script), std::string("OOM no script: f00, on @user_script:1."),
        std::string("BUSY no script: f00, on @user_script:1."),
        std::string("ERR unknown command script: f00, on @user_script:1."),
        in_redis_6("@user_script:1: @user_script: 1: -READONLY You can't write")}) {
    EXPECT_TRUE(leaves_script_in_doubt(reply)) << reply;
  }
}

TEST(ReplyDoubt, IsLeftByErrorsThatAreNotKnownToPrecedeAScript) {
  for (const char* reply : {"READONLY no", "OOM no", "MISCONF no", "MASTERDOWN no", "NOREPLICAS no",
                            "WRONGTYPE no", "ERR anything", "", "UNKILLABLE no", "WRONGPASS no",
                            "CLUSTERDOWN no script: f00, on @user_script:1."}) {
    EXPECT_TRUE(leaves_script_in_doubt(reply)) << reply;
  }
}

TEST(ReplyDoubt, IsNotLeftByARefusalBeforeAScript) {
  for (const char* reply :
       {"NOSCRIPT No matching script. Please use EVAL.",
        "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
        "BUSY Redis is busy running a script.", "LOADING Redis is loading the dataset in memory",
        "NOAUTH Authentication required.", "CROSSSLOT Keys in request don't hash to the same slot",
        "NOLOCK mail is a list", "MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down", "CLUSTERDOWN Hash slot not served",
        "ERR unknown command `EVALSHA`, with args beginning with: `f00`, "}) {
    EXPECT_FALSE(leaves_script_in_doubt(reply)) << reply;
  }
}

TEST(ReplyRedirection, IsWhatANodeSaysOfACommandThatItHasNotCarriedOut) {
  const auto how = [](const char* words) { return redirection(refusal(words)); };
  EXPECT_EQ(how("MOVED 3999 127.0.0.1:6381"), Redirection::moved);
  EXPECT_EQ(how("ASK 3999 127.0.0.1:6381"), Redirection::asks);
  EXPECT_EQ(how("TRYAGAIN Multiple keys request during rehashing of slot"), Redirection::apart);
  EXPECT_EQ(how("CLUSTERDOWN Hash slot not served"), Redirection::down);
  for (const char* other : {"", "MOVEDX 1", "ASKING", "moved 1 h:1", "ERR MOVED 1 h:1", "READONLY",
                            "CROSSSLOT Keys in request don't hash to the same slot",
                            "CLUSTERDOWN no script: f00, on @user_script:1."}) {
    EXPECT_EQ(how(other), Redirection::none) << other;
  }
  for (const Reply& reply : {nil(), integer(1), text("MOVED 1 h:1"), status("ASK 1 h:1"),
                             array({refusal("MOVED 1 h:1")})}) {
    EXPECT_EQ(redirection(reply), Redirection::none);
  }
}

/// A plain URL was given.
TEST(ReplyRedirection, IsExplainedByTheUrlThatIsToBeUsed) {
  for (const char* words : {"MOVED 3999 127.0.0.1:6381", "ASK 3999 127.0.0.1:6381"}) {
    EXPECT_EQ(classify(words), Errc::protocol_error);
    EXPECT_EQ(explain(words), "the server said \"" + std::string(words) +
                                  "\"; the key is at another node of a cluster; a URL with "
                                  "redis-cluster:// leads to all of them");
    EXPECT_FALSE(may_refuse_command(words));
    EXPECT_FALSE(concerns_connection(words));
  }
}

TEST(ReplyRefusedCommand, MayBeSaidInAnotherWay) {
  for (const char* reply :
       {"ERR unknown command 'EVALSHA', with args beginning with: 'f00' ",
        "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
        "NOPERM User bob has no permissions to run the 'evalsha' command"}) {
    EXPECT_TRUE(refuses_command(reply)) << reply;
  }
}

TEST(ReplyRefusedCommand, IsNotAKeyThatIsOutOfReach) {
  EXPECT_FALSE(refuses_command("NOPERM No permissions to access a key"));
  EXPECT_FALSE(refuses_command(
      "NOPERM this user has no permissions to access one of the keys used as arguments"));
}

TEST(ReplyRefusedCommand, IsNotWhatHappensInsideAScript) {
  EXPECT_FALSE(refuses_command(acl_in_script));
  EXPECT_FALSE(refuses_command("ERR unknown command script: f00, on @user_script:1."));
}

TEST(ReplyRefusedCommand, IsNotAnyOtherError) {
  for (const char* reply : {"OOM no", "NOSCRIPT no", "READONLY no", "ERR syntax error", ""}) {
    EXPECT_FALSE(refuses_command(reply)) << reply;
  }
}

/// As services and proxies say it.
TEST(ReplyRefusedCommand, MayBeInOtherWords) {
  for (const char* reply :
       {"ERR command eval not support for your account", "unsupported command 'evalsha'",
        "ERR Command is not available: 'EVALSHA'", "ERR no upstream host", "", "ERR"}) {
    EXPECT_TRUE(may_refuse_command(reply)) << reply;
    EXPECT_FALSE(refuses_command(reply)) << reply;
    EXPECT_TRUE(leaves_script_in_doubt(reply)) << reply;
  }
}

TEST(ReplyRefusedCommand, IsNotWhatOnlyAServerThatRunsItSays) {
  for (const std::string& reply : {std::string("NOSCRIPT No matching script. Please use EVAL."),
                                   std::string("WRONGTYPE no"),
                                   std::string("BUSY no"),
                                   std::string("OOM no"),
                                   std::string("READONLY no"),
                                   std::string("LOADING no"),
                                   std::string("MASTERDOWN no"),
                                   std::string("MISCONF no"),
                                   std::string("NOREPLICAS no"),
                                   std::string("CLUSTERDOWN no"),
                                   std::string("TRYAGAIN no"),
                                   std::string("MOVED 1 127.0.0.1:1"),
                                   std::string("ASK 1 127.0.0.1:1"),
                                   std::string("CROSSSLOT no"),
                                   std::string("NOAUTH no"),
                                   std::string("NOLOCK no"),
                                   std::string("LIMIT no"),
                                   std::string("UNKILLABLE no"),
                                   std::string("EXECABORT no"),
                                   std::string("NOPERM No permissions to access a key"),
                                   std::string("ERR syntax error"),
                                   std::string("ERR nobody is served"),
                                   std::string("ERR Error compiling script (new function)"),
                                   std::string("ERR odd script: f00, on @user_script:1."),
                                   std::string(acl_in_script),
                                   std::string("ERR Unknown Redis command called from script"),
                                   in_redis_6("@user_script:1: @user_script: 1: odd")}) {
    EXPECT_FALSE(may_refuse_command(reply)) << reply;
  }
}

TEST(ReplyRefusedCommand, ThatWasFoundOutIsCertainAndQuoted) {
  const std::string found = as_refusal("ERR command eval not support for your account");
  EXPECT_TRUE(refuses_command(found));
  EXPECT_TRUE(may_refuse_command(found));
  EXPECT_FALSE(leaves_script_in_doubt(found));
  EXPECT_EQ(classify(found), Errc::unsupported);
  EXPECT_TRUE(explain(found).starts_with(
      "the server said \"ERR command eval not support for your account\"; let its user run "))
      << explain(found);
  EXPECT_EQ(classify("REFUSED"), Errc::unsupported) << "a server may say it, too";
  EXPECT_FALSE(explain("REFUSED").empty());
  EXPECT_FALSE(explain("REFUSED,").empty());
}

/// Redis 7 and Redis 6, at the line of the script with this call.
TEST(LockMissingCommand, IsNamedByTheLineOfTheScript) {
  const std::string release(release_script.sha1());
  const std::string extend(extend_script.sha1());
  for (const std::string& reply :
       {"ERR Unknown Redis command called from script script: " + extend + ", on @user_script:2.",
        "ERR Error running script (call to f_" + extend +
            "): @user_script:2: @user_script: 2: Unknown Redis command called from Lua script"}) {
    EXPECT_EQ(classify(reply), Errc::unsupported);
    EXPECT_TRUE(leaves_script_in_doubt(reply));
    EXPECT_TRUE(explain(reply).ends_with("it lacks a command that the lock needs: PEXPIRE"))
        << explain(reply);
    EXPECT_EQ(explain(reply).find(extend), std::string::npos) << explain(reply);
  }
  EXPECT_TRUE(explain("ERR Unknown Redis command called from script script: " + release +
                      ", on @user_script:4.")
                  .ends_with(": DEL"));
}

/// Valkey 9.1 does not say which script it was.
TEST(LockMissingCommand, IsNotNamedWhenScriptOrLineIsNotKnown) {
  const std::string extend(extend_script.sha1());
  const std::string missing = "ERR Unknown Redis command called from script";
  for (const std::string& where :
       {std::string(), " script: " + extend + ", on @user_script:", " script: " + extend,
        " script: " + extend + ", on @user_script:0.",
        " script: " + extend + ", on @user_script:3.",
        " script: " + extend + ", on @user_script:99999999999999999999.",
        std::string(" script: f00, on @user_script:2."),
        std::string(" script: on @user_script:2.")}) {
    EXPECT_EQ(classify(missing + where), Errc::unsupported);
    EXPECT_TRUE(explain(missing + where).ends_with("it lacks a command that the lock needs"))
        << explain(missing + where);
  }
}

TEST(ReplyMessage, DoesNotRepeatArguments) {
  for (const char* reply :
       {"ERR unknown command 'DELEX', with args beginning with: 'job' 'IFEQ' 's3cret' ",
        "ERR unknown command `DELEX`, with args beginning with: `job`, `IFEQ`, `s3cret`, "}) {
    EXPECT_EQ(without_arguments(reply).find("s3cret"), std::string_view::npos);
    const std::string what = message(reply, Errc::unsupported);
    EXPECT_EQ(what.find("s3cret"), std::string::npos);
    EXPECT_NE(what.find("DELEX"), std::string::npos);
  }
}

TEST(ReplyMessage, IsWholeWhenThereAreNoArguments) {
  EXPECT_EQ(without_arguments("ERR syntax error"), "ERR syntax error");
  EXPECT_EQ(without_arguments(""), "");
}

TEST(ReplyMessage, NamesTheLockTheServerAndWhatWasSaid) {
  const std::string what = message("ERR something odd");
  EXPECT_NE(what.find("\"job\""), std::string::npos);
  EXPECT_NE(what.find("redis://host:6379/0"), std::string::npos);
  EXPECT_NE(what.find("ERR something odd"), std::string::npos);
}

TEST(ReplyMessage, SaysWhatToDo) {
  EXPECT_NE(message("NOAUTH no", Errc::authentication_failed).find("password"), std::string::npos);
  EXPECT_NE(message("NOPERM no", Errc::not_permitted).find("rights"), std::string::npos);
  EXPECT_NE(message("OOM no", Errc::not_writable).find("maxmemory"), std::string::npos);
  EXPECT_NE(message("WRONGTYPE no", Errc::wrong_type).find("another key"), std::string::npos);
}

/// In the words of Redis 7 and of Redis 6.
TEST(ReplyMessage, SaysWhatToDoWhereACommandIsMissing) {
  for (const char quote : {'\'', '`'}) {
    const auto said = [&](const std::string& command) {
      return message("ERR unknown command " + (quote + command + quote), Errc::unsupported);
    };
    for (const char* command : {"SET", "EVALSHA", "SELECT"}) {
      EXPECT_NE(said(command).find("if it is a Sentinel, use redis-sentinel://host:port#service"),
                std::string::npos)
          << said(command);
    }
    EXPECT_NE(said("WAITAOF").find("leave durability.aof out"), std::string::npos);
    for (const char* command : {"SENTINEL", "SETX", "DELEX", ""}) {
      EXPECT_EQ(said(command).find("use redis-sentinel://"), std::string::npos) << said(command);
    }
  }
}

TEST(ReplyMessage, ShowsOddKeysInPrintableCharacters) {
  const std::string what =
      about(Errc::timed_out, std::string("a\n\"\0\xff\\", 6), "srv", "x").what();
  EXPECT_NE(what.find("\"a\\x0a\\x22\\x00\\xff\\x5c\""), std::string::npos) << what;
}

TEST(ReplyMessage, NamesNoLockWhereThereIsNone) {
  const std::string what = about(Errc::timed_out, "", "redis://host:6379/0", "no answer").what();
  EXPECT_EQ(what.find("lock"), std::string::npos);
  EXPECT_NE(what.find("redis://host:6379/0: no answer"), std::string::npos);
}

TEST(ReplyMessage, CarriesCodeServerAndDoubt) {
  const Error error = about(Errc::timed_out, "job", "redis://host:6379/0", "no answer", true);
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_EQ(error.server(), "redis://host:6379/0");
  EXPECT_TRUE(error.in_doubt());
  EXPECT_TRUE(to_error(refusal("OOM no"), "job", "srv", true).in_doubt());
  EXPECT_FALSE(to_error(refusal("OOM no"), "job", "srv", false).in_doubt());
}

}  // namespace reply_test
}  // namespace redlatch::protocol
