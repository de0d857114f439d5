#include "engine/multiplexer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/protocol/shared.hpp>

#include "multiplexer_fixture.hpp"

namespace redlatch::test {
namespace multiplexer_test {

using Names = std::vector<std::string>;
using Ending = detail::PendingRequest::Ending;

class Multiplexer : public MultiplexerTest {};

// Queue and batches

TEST_F(Multiplexer, WritesTheQueueInOneBatchInItsOrder) {
  acquire("a");
  post("b");
  acquire("c");
  const std::vector<Words> batch = sent();
  ASSERT_EQ(batch.size(), 3U);
  EXPECT_EQ(batch[0][1], "a");
  EXPECT_EQ(batch[1][3], "b");
  EXPECT_EQ(batch[2][1], "c");
}

TEST_F(Multiplexer, WritesNothingWhileACallAwaitsItsReply) {
  acquire("a");
  EXPECT_EQ(names(), Names{"SET"});
  acquire("b");
  EXPECT_EQ(names(), Names{});
  reply("+OK\r\n");
  EXPECT_EQ(names(), Names{"SET"});
}

TEST_F(Multiplexer, WritesBehindRepliesThatNoCallAwaits) {
  post("a");
  EXPECT_EQ(names(), Names{"EVALSHA"});
  acquire("b");
  EXPECT_EQ(names(), Names{"SET"});
}

TEST_F(Multiplexer, LeavesCallsInTheQueueWhenTheBackgroundLeads) {
  acquire("a");
  post("b");
  EXPECT_EQ(names(detail::Multiplexer::Send::background), Names{"EVALSHA"});
}

TEST_F(Multiplexer, KeepsTheRestOfABatchThatWasSentInPart) {
  acquire("a");
  mux.fill(detail::Multiplexer::Send::all, now);
  const std::string all(mux.output());
  mux.sent(5);
  EXPECT_EQ(mux.output(), all.substr(5));
}

TEST_F(Multiplexer, NotesWhenTheFirstByteWasSentAtTheEarliest) {
  Caller& one = acquire("a");
  now += 5ms;
  const detail::TimePoint written = now;
  sent();
  now += 5ms;
  reply("+OK\r\n");
  EXPECT_EQ(one.response.sent, written);
}

// Replies

TEST_F(Multiplexer, GivesEachCallItsReplyHoweverTheBytesAreCut) {
  const std::string replies = "+OK\r\n$-1\r\n:1\r\n";
  for (std::size_t cut = 0; cut <= replies.size(); ++cut) {
    Caller& first = acquire("a");
    Caller& second = acquire("b");
    Caller& third = release("c");
    sent();
    reply(std::string_view(replies).substr(0, cut));
    EXPECT_EQ(first.done(), cut >= 5) << cut;
    EXPECT_EQ(second.done(), cut >= 10) << cut;
    reply(std::string_view(replies).substr(cut));
    ASSERT_TRUE(first.done() && second.done() && third.done()) << cut;
    EXPECT_TRUE(first.reply().is_ok());
    EXPECT_EQ(second.reply().kind, protocol::Reply::Kind::nil);
    EXPECT_EQ(third.reply().integer, 1);
  }
}

TEST_F(Multiplexer, ThrowsForAReplyOfAnotherKind) {
  acquire("a");
  sent();
  EXPECT_THROW(reply(":1\r\n"), detail::IoError);
}

TEST_F(Multiplexer, IsNotInSyncBehindAReplyThatNoRequestAskedFor) {
  acquire("a");
  sent();
  reply("+OK\r\n+OK\r\n");
  EXPECT_FALSE(mux.in_sync());
}

TEST_F(Multiplexer, LeavesTheOutcomeOfAReleaseOver) {
  post("a");
  sent();
  reply(":1\r\n");
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_EQ(leftovers.requests.size(), 1U);
  EXPECT_EQ(leftovers.requests.front().outcome, detail::ReleaseOutcome::released);
  EXPECT_FALSE(mux.has_leftovers());
}

TEST_F(Multiplexer, LeavesAReleaseOverThatIsNotPossibleNow) {
  post("a");
  sent();
  reply("-LOADING Redis is loading the dataset in memory\r\n");
  EXPECT_EQ(mux.take_leftovers().to_repeat.size(), 1U);
}

TEST_F(Multiplexer, LeavesTheReplyToARenewalOver) {
  mux.queue(lease);
  EXPECT_EQ(names(), Names{"EVALSHA"});
  reply(":1\r\n");
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_EQ(leftovers.requests.size(), 1U);
  EXPECT_EQ(leftovers.requests.front().ending, Ending::answered);
}

TEST_F(Multiplexer, DropsARenewalOfALockThatWasReleasedMeanwhile) {
  mux.queue(lease);
  wanted = false;
  EXPECT_EQ(names(), Names{});
  EXPECT_FALSE(mux.has_queued());
}

// WAIT

class MultiplexerWait : public MultiplexerTest {
 protected:
  struct Durable {
    protocol::Command set{protocol::Expect::ok_or_nil, "SET", "job", "token", "NX", "PX", 9s};
    protocol::Command wait;
    std::array<protocol::Command, 2> commands{set, wait};
    detail::Request request;
    detail::Response response{};
    detail::Call call{.request = request, .response = response};

    Durable(int replicas, std::chrono::milliseconds time)
        : wait(protocol::Expect::integer, "WAIT", std::int64_t{replicas}, time),
          request{.key = "job", .commands = commands, .blocks = time} {}
  };

  Durable& durable(int replicas, std::chrono::milliseconds time) {
    Durable& one = all.emplace_back(replicas, time);
    one.call.end = now + command_timeout;
    mux.queue(one.call, now);
    return one;
  }

  std::list<Durable> all{};
};

TEST_F(MultiplexerWait, IsSharedByTheRequestsOfABatch) {
  const Durable& one = durable(1, 100ms);
  const Durable& other = durable(1, 120ms);
  EXPECT_EQ(names(), (Names{"SET", "SET", "WAIT"}));
  reply("+OK\r\n+OK\r\n:1\r\n");
  EXPECT_TRUE(one.call.done() && other.call.done());
  EXPECT_EQ(one.response.replies[1].integer, 1);
}

TEST_F(MultiplexerWait, WithAnotherNumberGoesIntoTheNextBatch) {
  durable(1, 100ms);
  durable(2, 100ms);
  EXPECT_EQ(names(), (Names{"SET", "WAIT"}));
  reply("+OK\r\n:1\r\n");
  EXPECT_EQ(names(), (Names{"SET", "WAIT"}));
}

TEST_F(MultiplexerWait, LastsAtMostATenthOfASecondLongerThanTheShortest) {
  const Durable& one = durable(1, 100ms);
  const Durable& other = durable(1, 900ms);
  EXPECT_EQ(sent().back(), (Words{"WAIT", "1", "200"}));
  reply("+OK\r\n+OK\r\n:0\r\n");
  EXPECT_FALSE(one.response.cut_short);
  EXPECT_TRUE(other.response.cut_short);
}

// Giving up

TEST_F(Multiplexer, SendsNothingOfACallThatGaveUpInTheQueue) {
  Caller& one = acquire("a");
  give_up(one);
  EXPECT_TRUE(one.done());
  EXPECT_FALSE(one.call.in_doubt);
  EXPECT_EQ(names(), Names{});
}

TEST_F(Multiplexer, SendsTheCleanupOfACallThatGaveUpInFlightBehindIt) {
  Caller& one = acquire("a");
  sent();
  give_up(one);
  EXPECT_TRUE(one.call.in_doubt);
  EXPECT_EQ(names(), Names{"EVALSHA"});
  reply("+OK\r\n:1\r\n");
  EXPECT_FALSE(mux.owes());
}

TEST_F(Multiplexer, LeavesTheCleanupToAQuorum) {
  settings.role.is_one_of_several = true;
  Caller& one = acquire("a");
  sent();
  give_up(one);
  EXPECT_EQ(names(), Names{});
}

/// A quorum's cleanup comes when it is known whether the others have granted the lock, or when that
/// is released.
class MultiplexerOfAQuorum : public MultiplexerTest {
 protected:
  MultiplexerOfAQuorum() { settings.role.is_one_of_several = true; }

  /// The server does not answer. Returns what keeps the connection alive.
  Leftovers retire() {
    now += 1s;
    mux.begin_grace(now);
    now += 1s;
    mux.retire_if_stale(now);
    return mux.take_leftovers();
  }
  /// A cleanup goes out. Whether it stays open behind "not ours".
  bool stays_open(std::string_view value = "token") {
    mux.queue("a", {protocol::Command(protocol::release_script, "a", value), 9s}, now);
    sent();
    return stays_open_behind_a_no();
  }
  /// The same for the one that has stayed open.
  bool stays_open_again() {
    mux.queue(std::move(open));
    sent();
    return stays_open_behind_a_no();
  }

 private:
  bool stays_open_behind_a_no() {
    reply(":0\r\n");
    open = mux.take_leftovers().to_repeat;
    return !open.empty();
  }

  detail::PendingRequests open{};
};

TEST_F(MultiplexerOfAQuorum, KeepsACleanupOpenWhileTheAcquisitionMayComeOnAFormerConnection) {
  Caller& one = acquire("a");
  sent();
  give_up(one);
  std::optional<Leftovers> former = retire();
  ASSERT_EQ(former->disconnection->parting, Leftovers::Parting::retire);
  EXPECT_TRUE(former->disconnection->retired.in_flight.front().is_awaited_when_retired());
  connect();
  EXPECT_TRUE(stays_open());
  now += 5s;
  EXPECT_TRUE(stays_open_again());
  former.reset();
  EXPECT_TRUE(stays_open_again()) << "the server may not have read all that came";
  now += command_timeout;
  EXPECT_FALSE(stays_open_again());
}

TEST_F(MultiplexerOfAQuorum, KeepsACleanupOpenForATimeBehindABreak) {
  for (const bool awaited : {true, false}) {
    Caller& one = acquire("a");
    sent();
    if (!awaited) give_up(one);
    const detail::IoError lost(Errc::unreachable, "cut");
    mux.fail_connection(&lost, now);
    mux.take_leftovers();
    connect();
    EXPECT_TRUE(stays_open());
    now += command_timeout;
    EXPECT_FALSE(stays_open_again());
  }
}

/// A server that comes and goes would leave more and more to remember while a ttl lasts.
TEST_F(MultiplexerOfAQuorum, ForgetsAnAcquisitionWithTheEndOfItsCleanup) {
  Caller& one = acquire("a");
  sent();
  give_up(one);
  retire();
  connect();
  EXPECT_TRUE(stays_open());
  now += command_timeout;
  EXPECT_FALSE(stays_open_again());
  EXPECT_FALSE(stays_open());
}

TEST_F(MultiplexerOfAQuorum, EndsTheCleanupsOfOtherLeasesWithAnAnswer) {
  Caller& one = acquire("a");
  sent();
  give_up(one);
  const Leftovers former = retire();
  connect();
  EXPECT_FALSE(stays_open("another"));
}

TEST_F(MultiplexerOfAQuorum, EndsTheCleanupOfAnAcquisitionThatWasAnswered) {
  Caller& one = acquire("a");
  sent();
  give_up(one);
  reply("$-1\r\n");
  mux.drop({});
  mux.take_leftovers();
  connect();
  EXPECT_FALSE(stays_open());
}

TEST_F(Multiplexer, IsInNoDoubtAboutACommandThatChangesNothing) {
  Caller& one = call("a", protocol::Command(protocol::Expect::anything, "TYPE", "a"));
  sent();
  give_up(one);
  EXPECT_FALSE(one.call.in_doubt);
}

TEST_F(Multiplexer, GivesTheNextCallItsOwnReplyBehindAnAbandonedOne) {
  give_up([&]() -> Caller& {
    Caller& one = call("a", protocol::Command(protocol::Expect::anything, "TYPE", "a"));
    sent();
    return one;
  }());
  Caller& next = acquire("b");
  sent();
  reply("+string\r\n$-1\r\n");
  ASSERT_TRUE(next.done());
  EXPECT_EQ(next.reply().kind, protocol::Reply::Kind::nil);
}

// Refusal and retry

TEST_F(Multiplexer, SendsTheTextOfAScriptThatTheServerHasForgotten) {
  Caller& one = release("a");
  EXPECT_EQ(names(), Names{"EVALSHA"});
  reply(no_script);
  EXPECT_FALSE(one.done());
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(":1\r\n");
  ASSERT_TRUE(one.done());
  EXPECT_EQ(one.reply().integer, 1);
}

TEST_F(Multiplexer, KeepsNoOtherCallFromItsReplyWhenOneOfABatchIsRefused) {
  const Caller& one = acquire("one");
  const Caller& refused = release("refused");
  const Caller& other = acquire("other");
  EXPECT_EQ(names(), (Names{"SET", "EVALSHA", "SET"}));
  reply("+OK\r\n");
  reply(no_script);
  reply("+OK\r\n");
  EXPECT_TRUE(one.done());
  EXPECT_TRUE(other.done());
  EXPECT_FALSE(refused.done());
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(":1\r\n");
  EXPECT_TRUE(refused.done());
}

TEST_F(Multiplexer, WritesWhatIsQueuedBehindTheRetries) {
  release("a");
  sent();
  acquire("b");
  reply(no_script);
  EXPECT_EQ(names(), Names{"EVAL"});
  EXPECT_EQ(names(), Names{}) << "the retry has the connection to itself";
  reply(":1\r\n");
  EXPECT_EQ(names(), Names{"SET"});
}

TEST_F(Multiplexer, SendsTheOthersAgainInOneBatchOnceTheServerKnowsTheScript) {
  for (const char* key : {"a", "b", "c"}) release(key);
  sent();
  for (int i = 0; i < 3; ++i) reply(no_script);
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(":1\r\n");
  const std::vector<Words> batch = sent();
  ASSERT_EQ(batch.size(), 2U);
  EXPECT_EQ(batch[0][3], "b");
  EXPECT_EQ(batch[1][3], "c");
  EXPECT_EQ(batch[1][0], "EVALSHA");
}

TEST_F(Multiplexer, SendsARequestThatWasRefusedTwiceBeforeThoseRefusedOnce) {
  extend("a", 3s);
  extend("job", 3s);
  release("page");
  extend("job", 60s);
  EXPECT_EQ(names().size(), 4U);
  for (int i = 0; i < 4; ++i) reply(no_script);
  EXPECT_EQ(sent()[0][3], "a");
  reply(":1\r\n");
  ASSERT_EQ(sent()[0][3], "job");
  reply(no_script);  // once more
  const Words again = sent()[0];
  EXPECT_EQ(again[3], "job");
  EXPECT_EQ(again.back(), "3000");
}

TEST_F(Multiplexer, DropsARefusedRenewalBehindANewerExtension) {
  mux.queue(lease);
  extend("job", 60s);
  sent();
  reply(no_script);
  reply(":1\r\n");
  EXPECT_EQ(names(), Names{});
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_EQ(leftovers.requests.size(), 1U);
  EXPECT_EQ(leftovers.requests.front().ending, Ending::superseded);
}

TEST_F(Multiplexer, RepeatsAnAcquisitionThatFailedBehindARefusedReleaseOfItsKey) {
  post("a");
  Caller& next = acquire("a");
  Caller& stranger = acquire("b");
  sent();
  reply(no_script);
  reply("$-1\r\n$-1\r\n");
  EXPECT_FALSE(next.done());
  EXPECT_TRUE(stranger.done());
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(":1\r\n");
  EXPECT_EQ(names(), Names{"SET"});
  reply("+OK\r\n");
  ASSERT_TRUE(next.done());
  EXPECT_TRUE(next.reply().is_ok());
}

TEST_F(Multiplexer, GivesUpACallThatWaitsForItsRetry) {
  release("a");
  Caller& late = release("b");
  sent();
  reply(no_script);
  reply(no_script);
  sent();
  give_up(late);
  EXPECT_FALSE(late.call.in_doubt) << "the server has refused it";
  reply(":1\r\n");
  EXPECT_EQ(names(), Names{});
  EXPECT_FALSE(mux.owes());
}

/// An attempt that also asks for how long others hold the lock, in the moment in which the server
/// becomes a replica: the lock may be at the next primary, too, where it is not free.
TEST_F(Multiplexer, MakesNoAttemptAgainThatTheServerHasCarriedOut) {
  const auto outdated_by = [&](std::string_view replies) {
    Caller& one = acquire("a");
    const std::array<protocol::Command, 2> commands{
        one.command, protocol::Command(protocol::Expect::integer, "PTTL", "a")};
    one.request.commands = commands;
    sent();
    reply(replies);
    EXPECT_TRUE(one.done());
    return one.call.outdated;
  };
  EXPECT_TRUE(outdated_by("-MASTERDOWN down\r\n-MASTERDOWN down\r\n"));
  EXPECT_TRUE(outdated_by("$-1\r\n-MASTERDOWN down\r\n"));
  EXPECT_FALSE(outdated_by("+OK\r\n-MASTERDOWN down\r\n"));
}

/// An attempt that also asks for how long others hold the lock. The server has forgotten the script
/// for that, and knows the one for the attempt.
class MultiplexerOfAnAttemptRefusedInPart : public MultiplexerTest {
 protected:
  MultiplexerOfAnAttemptRefusedInPart() : attempt(call("a", commands.front(), true)) {
    attempt.request.commands = commands;
    sent();
    reply(":1\r\n");
    reply(no_script);
  }

  const std::array<protocol::Command, 2> commands{
      protocol::Command(protocol::acquire_shared_script, "a", "token", 9s),
      protocol::Command(protocol::life_shared_script, "a")};
  Caller& attempt;
};

TEST_F(MultiplexerOfAnAttemptRefusedInPart, UndoesItWhenTheCallGivesUp) {
  give_up(attempt);
  EXPECT_TRUE(attempt.call.in_doubt) << "the server has acquired the lock";
  EXPECT_EQ(names(), Names{"EVALSHA"});
}

TEST_F(MultiplexerOfAnAttemptRefusedInPart, UndoesItWhenTheTimeOfTheCallIsOver) {
  now = attempt.call.end;
  EXPECT_EQ(names(), Names{});
  EXPECT_TRUE(attempt.failed());
  EXPECT_TRUE(attempt.call.in_doubt && attempt.call.broken);
}

TEST_F(MultiplexerOfAnAttemptRefusedInPart, UndoesItWhenTheConnectionBreaks) {
  const detail::IoError lost(Errc::unreachable, "cut");
  mux.fail_connection(&lost, now);
  EXPECT_TRUE(attempt.failed());
  EXPECT_TRUE(attempt.call.in_doubt && attempt.call.broken);
}

TEST_F(MultiplexerOfAnAttemptRefusedInPart, IsAnsweredByWhatIsSentAgain) {
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(":9000\r\n");
  ASSERT_TRUE(attempt.done());
  EXPECT_FALSE(attempt.failed());
  EXPECT_EQ(attempt.reply().integer, 1);
}

TEST_F(Multiplexer, FailsARefusedCallWhoseTimeIsOver) {
  Caller& late = release("a");
  sent();
  reply(no_script);
  now = late.call.end;
  EXPECT_EQ(names(), Names{});
  ASSERT_TRUE(late.failed());
  EXPECT_EQ(late.call.failure->code(), Errc::timed_out);
}

TEST_F(Multiplexer, SendsTheCleanupBehindARetryThatIsInFlight) {
  Caller& one = call("a", protocol::Command(protocol::extend_script, "a", "token", 9s), true);
  sent();
  reply(no_script);
  EXPECT_EQ(names(), Names{"EVAL"});
  give_up(one);
  EXPECT_TRUE(one.call.in_doubt);
  EXPECT_EQ(names(), Names{"EVALSHA"}) << "nothing of the retry has to follow first";
  reply(":1\r\n");
  reply(":1\r\n");
  EXPECT_FALSE(mux.owes());
  EXPECT_TRUE(mux.in_sync());
}

TEST_F(Multiplexer, KeepsTheCleanupBehindARequestInDoubtWhenAnotherOneIsRefused) {
  Caller& refused = release("refused");
  Caller& silent = acquire("unanswered");
  sent();
  reply(no_script);
  now += command_timeout;
  mux.begin_grace(now);
  give_up(refused);
  give_up(silent);
  now += 1s;
  ASSERT_TRUE(mux.is_stale(now));
  mux.leave_retries_over(now);
  const std::vector<Words> batch = sent(detail::Multiplexer::Send::releases);
  ASSERT_EQ(batch.size(), 1U);
  EXPECT_EQ(batch[0][3], "unanswered");
}

TEST_F(Multiplexer, LooksForAnotherFormWhenScriptsAreRefused) {
  Caller& one = release("a");
  sent();
  reply(not_permitted);
  EXPECT_EQ(names(), Names{"COMMAND"});
  reply("*2\r\n*1\r\n$5\r\ndelex\r\n*-1\r\n");
  EXPECT_EQ(sent().front(), (Words{"DELEX", "a", "IFEQ", "token"}));
  reply(":1\r\n");
  EXPECT_TRUE(one.done());
  release("b");
  EXPECT_EQ(names(), Names{"DELEX"}) << "it is remembered";
}

/// A user who may call scripts by their hashes only, on a server that has forgotten them.
TEST_F(Multiplexer, RetriesEachOfABatchByWatchWhereTheTextsOfScriptsAreRefused) {
  constexpr std::string_view ours = "+OK\r\n:1\r\n$5\r\ntoken\r\n+OK\r\n";
  Caller& one = release("a");
  Caller& two = release("b");
  sent();
  reply(no_script);
  reply(no_script);
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(not_permitted);
  EXPECT_EQ(names(), Names{"COMMAND"});
  reply("*1\r\n*-1\r\n");
  EXPECT_EQ(names().front(), "WATCH");
  reply(ours);
  EXPECT_EQ(names(), (Names{"DEL", "EXEC"}));
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  EXPECT_TRUE(one.done());
  EXPECT_EQ(names(), Names{"EVAL"});
  reply(not_permitted);
  EXPECT_EQ(names().front(), "WATCH");
  reply(ours);
  EXPECT_EQ(names(), (Names{"DEL", "EXEC"}));
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  ASSERT_TRUE(two.done());
  EXPECT_EQ(two.reply().integer, 1);
}

TEST_F(Multiplexer, FindsOutWhetherAnOddErrorRefusesScripts) {
  Caller& one = release("a");
  sent();
  reply("-ERR no such thing here\r\n");
  EXPECT_EQ(names(), (Names{"EVAL", "EVALSHA", "GETRANGE"}));
  reply("-ERR no such thing here\r\n-ERR no such thing here\r\n$0\r\n\r\n");
  EXPECT_EQ(names(), Names{"COMMAND"});
  EXPECT_FALSE(one.done());
}

TEST_F(Multiplexer, TakesAnOddErrorForItselfWhenTheServerRunsScripts) {
  Caller& one = release("a");
  sent();
  reply("-ERR no such thing here\r\n");
  sent();
  reply(":1\r\n:1\r\n$0\r\n\r\n");
  ASSERT_TRUE(one.done());
  EXPECT_EQ(one.reply().text, "ERR no such thing here");
}

// WATCH

class MultiplexerWatch : public MultiplexerTest {
 protected:
  MultiplexerWatch() { reconnect(no_scripts()); }
  static constexpr std::string_view ours = "+OK\r\n:1\r\n$5\r\ntoken\r\n+OK\r\n";
};

TEST_F(MultiplexerWatch, GuardsAReleaseWhereThereIsNoOtherForm) {
  Caller& one = release("a");
  EXPECT_EQ(names(), (Names{"WATCH", "EXISTS", "GETRANGE", "MULTI"}));
  reply(ours);
  EXPECT_EQ(names(), (Names{"DEL", "EXEC"}));
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  ASSERT_TRUE(one.done());
  EXPECT_EQ(one.reply().integer, 1);
  EXPECT_TRUE(mux.in_sync());
}

TEST_F(MultiplexerWatch, HasTheConnectionToItself) {
  release("a");
  acquire("b");
  sent();
  EXPECT_EQ(names(), Names{});
  reply(ours);
  EXPECT_EQ(names(), (Names{"DEL", "EXEC"}));
  EXPECT_EQ(names(), Names{});
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  EXPECT_EQ(names(), Names{"SET"});
}

TEST_F(MultiplexerWatch, BeginsAgainWhenTheKeyChanged) {
  release("a");
  sent();
  reply(ours);
  sent();
  reply("+QUEUED\r\n*-1\r\n");
  EXPECT_EQ(names(), (Names{"WATCH", "EXISTS", "GETRANGE", "MULTI"}));
}

TEST_F(MultiplexerWatch, GivesUpAKeyThatKeepsChangingAndKeepsTheConnection) {
  Caller& one = release("a");
  sent();
  reply(ours);
  sent();
  now = one.call.end;
  reply("+QUEUED\r\n*-1\r\n");
  ASSERT_TRUE(one.failed());
  EXPECT_STREQ(one.call.failure->what(), "the key kept changing for all of command_timeout");
  EXPECT_FALSE(one.call.in_doubt);
  acquire("b");
  EXPECT_EQ(names(), Names{"SET"});
}

TEST_F(MultiplexerWatch, LeavesNothingWatchedBehindACallThatGaveUpBetweenTwoRoundTrips) {
  Caller& one = release("a");
  sent();
  reply("+OK\r\n:1\r\n");
  give_up(one);
  EXPECT_FALSE(one.call.in_doubt);
  callers.clear();
  texts.clear();  // of the command
  acquire("b");
  EXPECT_EQ(names(), Names{}) << "it would be part of the transaction";
  reply("$5\r\ntoken\r\n+OK\r\n");
  EXPECT_EQ(names(), (Names{"EXEC"})) << "without a change";
  reply("*0\r\n");
  EXPECT_EQ(names(), Names{"SET"});
  EXPECT_TRUE(mux.connected());
}

TEST_F(MultiplexerWatch, IsInDoubtForACallThatGaveUpBehindExec) {
  Caller& one = release("a");
  sent();
  reply(ours);
  sent();
  give_up(one);
  EXPECT_TRUE(one.call.in_doubt);
  acquire("b");
  EXPECT_EQ(names(), Names{"SET"}) << "nothing is watched behind EXEC";
  reply("+QUEUED\r\n*1\r\n:1\r\n+OK\r\n");
  EXPECT_TRUE(callers.back().done());
}

TEST_F(MultiplexerWatch, SendsAReleaseWithoutACallToo) {
  post("a");
  EXPECT_EQ(names(), (Names{"WATCH", "EXISTS", "GETRANGE", "MULTI"}));
  reply(ours);
  sent();
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_EQ(leftovers.requests.size(), 1U);
  EXPECT_EQ(leftovers.requests.front().outcome, detail::ReleaseOutcome::released);
}

TEST_F(MultiplexerWatch, FailsTheConnectionOfASilentServer) {
  post("a");
  sent();
  now += command_timeout;
  mux.begin_grace(now);
  now += 1s;
  mux.retire_if_stale(now);
  EXPECT_FALSE(mux.connected());
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_TRUE(leftovers.disconnection);
  EXPECT_EQ(leftovers.disconnection->parting, Leftovers::Parting::discard);
  EXPECT_EQ(leftovers.to_repeat.size(), 1U);
}

// Silence

TEST_F(Multiplexer, RetiresASilentConnectionAfterItsGracePeriod) {
  post("a");
  sent();
  now += 874ms;
  EXPECT_FALSE(mux.is_overdue(now));
  now += 1ms;
  ASSERT_TRUE(mux.is_overdue(now));
  mux.begin_grace(now);
  EXPECT_FALSE(mux.is_stale(now));
  now += 10ms;
  ASSERT_TRUE(mux.is_stale(now));
  mux.retire_if_stale(now);
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_TRUE(leftovers.disconnection);
  EXPECT_EQ(leftovers.disconnection->parting, Leftovers::Parting::retire);
  EXPECT_EQ(leftovers.disconnection->retired.in_flight.size(), 1U);
}

TEST_F(Multiplexer, DoesNotTakeAPauseOfItsOwnForSilence) {
  post("a");
  sent();
  now += 1h;
  EXPECT_FALSE(mux.is_stale(now)) << "nothing was read since";
  reply(":1\r\n");
  mux.begin_grace(now);
  now += 1h;
  EXPECT_FALSE(mux.is_stale(now));
}

TEST_F(Multiplexer, RetiresNoConnectionWhileACallAwaitsAReply) {
  acquire("a");
  sent();
  now += 1s;
  mux.begin_grace(now);
  now += 1s;
  mux.retire_if_stale(now);
  EXPECT_TRUE(mux.connected());
}

TEST_F(Multiplexer, SendsNothingButReleasesOnASilentConnection) {
  post("a");
  sent();
  mux.queue(lease);
  acquire("b");
  post("c");
  const std::vector<Words> batch = sent(detail::Multiplexer::Send::releases);
  ASSERT_EQ(batch.size(), 1U);
  EXPECT_EQ(batch[0][3], "c");
}

// Breaks

TEST_F(Multiplexer, IsInDoubtAboutACommandThatWasSentWholeWhereverTheConnectionBreaks) {
  std::size_t size = 0;
  for (std::size_t bytes = 0; bytes <= 2 * size || size == 0; ++bytes) {
    Caller& first = acquire("a");
    Caller& second = acquire("b");
    mux.fill(detail::Multiplexer::Send::all, now);
    size = mux.output().size() / 2;
    mux.sent(bytes);
    const detail::IoError lost(Errc::unreachable, "cut");
    mux.fail_connection(&lost, now);
    ASSERT_TRUE(first.failed() && second.failed());
    EXPECT_EQ(first.call.in_doubt, bytes >= size) << bytes;
    EXPECT_EQ(second.call.in_doubt, bytes >= 2 * size) << bytes;
    EXPECT_TRUE(first.call.broken);
    const Leftovers leftovers = mux.take_leftovers();
    ASSERT_TRUE(leftovers.disconnection);
    EXPECT_EQ(leftovers.disconnection->parting, Leftovers::Parting::discard);
    connect();
  }
}

TEST_F(Multiplexer, LeavesReleasesAndRenewalsOverWhenItsConnectionBreaks) {
  post("a");
  mux.queue(lease);
  sent();
  const detail::IoError lost(Errc::unreachable, "cut");
  mux.fail_connection(&lost, now);
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_EQ(leftovers.to_repeat.size(), 1U);
  EXPECT_LE(leftovers.to_repeat.front().release.due(), now) << "it is sent again at once";
  ASSERT_EQ(leftovers.requests.size(), 1U);
  EXPECT_EQ(leftovers.requests.front().ending, Ending::failed);
  EXPECT_EQ(leftovers.requests.front().why, Errc::unreachable);
}

TEST_F(Multiplexer, KeepsWhatIsQueuedForTheNextConnection) {
  acquire("a");
  sent();
  acquire("b");
  const detail::IoError lost(Errc::unreachable, "cut");
  mux.fail_connection(&lost, now);
  mux.take_leftovers();
  connect();
  EXPECT_EQ(sent().front()[1], "b");
}

TEST_F(Multiplexer, LeavesQueuedReleasesOverWhenThereIsNoConnection) {
  mux.drop({});
  mux.take_leftovers();
  post("a");
  mux.queue(lease);
  mux.leave_queued_over(Errc::unreachable, now);
  const Leftovers leftovers = mux.take_leftovers();
  EXPECT_EQ(leftovers.to_repeat.size(), 1U);
  EXPECT_EQ(leftovers.requests.size(), 1U);
}

/// Releases go out as WATCH, at which the connection is closed.
class MultiplexerBehindAClosingProxy : public MultiplexerTest {
 protected:
  const Names watch{"WATCH", "EXISTS", "GETRANGE", "MULTI"};

  void close_at_watch() {
    now += 1s;
    reconnect(no_scripts());
    release("a");
    EXPECT_EQ(names(), watch);
    now += 1ms;
    const detail::IoError lost(Errc::unreachable, "closed");
    mux.fail_connection(&lost, now);
    mux.take_leftovers();
    connect();
  }
};

TEST_F(MultiplexerBehindAClosingProxy, SendsNoWatchAgainAtOnceAfterTwoClosings) {
  close_at_watch();
  close_at_watch();
  reconnect(no_scripts());
  now += 999ms;
  Caller& third = release("a");
  EXPECT_EQ(names(), Names{});
  EXPECT_TRUE(third.done());
}

/// Two failures of a network may look the same.
TEST_F(MultiplexerBehindAClosingProxy, SendsWatchAgainAfterASecond) {
  close_at_watch();
  close_at_watch();
  for (int i = 0; i < 3; ++i) close_at_watch();
  now += 1s;
  reconnect(no_scripts());
  Caller& last = release("a");
  EXPECT_EQ(names(), watch);
  reply("+OK\r\n:1\r\n$5\r\ntoken\r\n+OK\r\n");
  sent();
  reply("+QUEUED\r\n*1\r\n:1\r\n");
  EXPECT_EQ(last.reply().integer, 1);
  release("b");
  EXPECT_EQ(names(), watch);
}

// A server that is not a primary

TEST_F(Multiplexer, DropsAnOlderConnectionToAReadOnlyServer) {
  Caller& one = acquire("a");
  sent();
  reply("-READONLY You can't write against a read only replica.\r\n");
  EXPECT_TRUE(one.call.outdated);
  mux.drop_outdated();
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_TRUE(leftovers.disconnection);
  EXPECT_TRUE(leftovers.disconnection->outdated);
  EXPECT_EQ(leftovers.disconnection->why, Errc::not_writable);
  EXPECT_NE(leftovers.failure(leftovers.disconnection->why).text.find("READONLY"),
            std::string::npos);
}

TEST_F(Multiplexer, KeepsANewConnectionToAReadOnlyServer) {
  mux.schedule().succeeded(now);
  Caller& one = acquire("a");
  sent();
  reply("-READONLY You can't write against a read only replica.\r\n");
  EXPECT_FALSE(one.call.outdated);
  mux.drop_outdated();
  EXPECT_TRUE(mux.connected());
}

TEST_F(Multiplexer, LeavesAFormerPrimaryOnceNoCallAwaitsAReply) {
  Caller& one = acquire("a");
  sent();
  mux.leave_former_primary(now);
  EXPECT_TRUE(mux.connected());
  reply("+OK\r\n");
  EXPECT_TRUE(one.call.done());
  mux.leave_former_primary(now);
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_TRUE(leftovers.disconnection);
  EXPECT_EQ(leftovers.disconnection->parting, Leftovers::Parting::close);
  EXPECT_EQ(leftovers.disconnection->why, Errc::not_writable);
  EXPECT_TRUE(leftovers.disconnection->moved);
}

TEST_F(Multiplexer, StillReadsTheReplyToAReleaseOfAFormerPrimary) {
  post("a");
  sent();
  post("b");
  mux.leave_former_primary(now);
  const Leftovers leftovers = mux.take_leftovers();
  ASSERT_TRUE(leftovers.disconnection);
  EXPECT_EQ(leftovers.disconnection->parting, Leftovers::Parting::retire);
  EXPECT_EQ(leftovers.disconnection->retired.in_flight.size(), 1U);
  EXPECT_TRUE(mux.has_queued());  // what was not sent yet goes to the new primary
}

// Releases that are not possible

class MultiplexerRefusedReleases : public MultiplexerTest {
 protected:
  MultiplexerRefusedReleases() {
    settings.role.only_scripts = true;
    reconnect({});
    post("a");
    sent();
    reply("-ERR unknown command 'EVALSHA'\r\n");
    sent();
  }
};

TEST_F(MultiplexerRefusedReleases, KeepLocksFromBeingAcquired) {
  Caller& one = acquire("b");
  EXPECT_EQ(names(), Names{});
  ASSERT_TRUE(one.failed());
  EXPECT_EQ(one.call.failure->code(), Errc::unsupported);
}

TEST_F(MultiplexerRefusedReleases, AreTriedAgainOnceInASecond) {
  acquire("b");
  sent();
  EXPECT_EQ(names(), Names{"EVALSHA"}) << "of the lock that was not acquired";
  acquire("b");
  sent();
  EXPECT_EQ(names(), Names{});
  reply(":0\r\n");
  acquire("b");
  EXPECT_EQ(names(), Names{"SET"});
}

// In a cluster

constexpr std::string_view moved = "-MOVED 365 10.0.0.2:6379\r\n";
constexpr std::string_view asks = "-ASK 365 10.0.0.2:6379\r\n";

TEST_F(Multiplexer, LeavesTheRepliesOverByWhichRequestsWereRedirected) {
  Caller& one = acquire("a");
  post("b");
  mux.queue(lease);
  sent();
  reply(moved);
  EXPECT_TRUE(mux.has_leftovers());
  EXPECT_EQ(one.reply().text, "MOVED 365 10.0.0.2:6379");
  reply("-MOVED 1 h:1\r\n");
  reply(asks);
  const Leftovers leftovers = mux.take_leftovers();
  EXPECT_EQ(leftovers.redirects,
            (Words{"MOVED 365 10.0.0.2:6379", "MOVED 1 h:1", "ASK 365 10.0.0.2:6379"}));
  EXPECT_EQ(leftovers.to_repeat.size(), 1U);
  EXPECT_EQ(leftovers.requests.size(), 1U) << "the renewal";
  EXPECT_FALSE(mux.has_leftovers());
}

TEST_F(Multiplexer, LeavesNoOtherRefusalOverAsARedirect) {
  for (const char* refusal : {"-TRYAGAIN no\r\n", "-CLUSTERDOWN no\r\n", "-READONLY no\r\n",
                              "-ERR MOVED 1 h:1\r\n", "$-1\r\n"}) {
    acquire("a");
    sent();
    reply(refusal);
    EXPECT_TRUE(mux.take_leftovers().redirects.empty()) << refusal;
  }
}

TEST_F(Multiplexer, LeavesARedirectOverWhoseCallHasGivenUp) {
  Caller& one = acquire("a");
  sent();
  now += command_timeout;
  give_up(one);
  reply(moved);
  EXPECT_EQ(mux.take_leftovers().redirects.size(), 1U);
}

TEST_F(Multiplexer, SendsTheFirstCommandOfARequestBehindAsking) {
  Caller& one = acquire("a");
  one.request.asks = true;
  Caller& other = acquire("b");
  EXPECT_EQ(names(), (Names{"ASKING", "SET", "SET"}));
  reply("+OK\r\n+OK\r\n$-1\r\n");
  EXPECT_TRUE(one.reply().is_ok());
  EXPECT_EQ(other.reply().kind, protocol::Reply::Kind::nil);
  EXPECT_TRUE(mux.in_sync());
}

TEST_F(Multiplexer, SendsARenewalBehindAsking) {
  lease.ask(true);
  mux.queue(lease);
  EXPECT_EQ(names(), (Names{"ASKING", "EVALSHA"}));
  reply("+OK\r\n:1\r\n");
  EXPECT_EQ(mux.take_leftovers().requests.front().replies.front().integer, 1);
  lease.ask(false);
  mux.queue(lease);
  EXPECT_EQ(names(), Names{"EVALSHA"});
}

TEST_F(Multiplexer, SendsAReleaseBehindAskingAfterAnAsk) {
  post("a");
  sent();
  reply(asks);
  mux.queue(mux.take_leftovers().to_repeat);
  EXPECT_EQ(names(), (Names{"ASKING", "EVALSHA"}));
  reply("+OK\r\n:1\r\n");
  EXPECT_EQ(mux.take_leftovers().requests.front().outcome, detail::ReleaseOutcome::released);
}

/// The node may not know the script, which is sent as text then, behind another ASKING.
TEST_F(Multiplexer, SendsTheTextOfAScriptBehindAskingToo) {
  Caller& one = release("a");
  one.request.asks = true;
  sent();
  reply("+OK\r\n");
  reply(no_script);
  const Names retried = names();
  ASSERT_GE(retried.size(), 2U);
  EXPECT_EQ(retried[retried.size() - 2], "ASKING");
  EXPECT_EQ(retried.back(), "EVAL");
  for (std::size_t i = 0; i + 1 < retried.size(); ++i) reply("+OK\r\n");
  reply(":1\r\n");
  ASSERT_TRUE(one.done());
  EXPECT_EQ(one.reply().integer, 1);
}

TEST_F(Multiplexer, AcquiresLocksBehindAReleaseThatWasRedirected) {
  for (const std::string_view refusal :
       {moved, asks, std::string_view("-TRYAGAIN no\r\n"),
        std::string_view("-CLUSTERDOWN The cluster is down\r\n")}) {
    post("a");
    sent();
    reply(refusal);
    mux.take_leftovers();
    const Caller& one = acquire("b");
    EXPECT_EQ(names(), Names{"SET"}) << refusal;
    EXPECT_FALSE(one.failed());
    reply("+OK\r\n");
  }
}

// Leaders, fork

TEST_F(Multiplexer, AppointsTheCallWhoseReplyComesFirst) {
  detail::PollNotifier notifier;
  acquire("a").call.poll_notifier = &notifier;
  Caller& second = acquire("b");
  sent();
  acquire("c");
  EXPECT_EQ(mux.next_leader(), &second.call);
  reply("+OK\r\n+OK\r\n");
  EXPECT_EQ(mux.next_leader(), &callers.back().call);
}

TEST_F(Multiplexer, ForgetsEverythingInAForkedChild) {
  acquire("a");
  post("b");
  sent();
  acquire("c");
  mux.abandon(2);
  EXPECT_FALSE(mux.connected());
  EXPECT_FALSE(mux.owes());
  EXPECT_FALSE(mux.has_queued());
  EXPECT_FALSE(mux.has_leftovers());
  EXPECT_TRUE(mux.is_consistent());
}

}  // namespace multiplexer_test
}  // namespace redlatch::test
