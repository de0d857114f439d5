#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace {

using Ending = detail::QueuePlace::Ending;

/// A server that has a queue, and a client that can be told.
Fake fake_with_queue() {
  const Fake executor = fake();
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->will(says(nil()));  // to the first attempt
  return executor;
}

Answer granted() { return says(integer(1)); }
Answer queued() { return says(integer(2)); }
Answer first() { return says(integer(3)); }
Answer first_and_watched(int life) { return says(integer(3), ok(), ok(), integer(life)); }
Answer told() { return says(integer(4)); }
Answer gone() { return says(integer(0)); }

constexpr auto drift = 100ms + 2ms;  // of the usual ttl, 10 s

/// Lets the server grant the entry as soon as somebody waits for it.
void grant_while_waiting(const Fake& executor, TimePoint::duration after = 0ns) {
  executor->on_pause = [server = executor.get(), after] {
    server->advance(after);
    server->granted = true;
    server->on_pause = {};
  };
}

std::vector<std::string> standing(const Fake& executor) {
  std::vector<std::string> all;
  for (const std::string& command : executor->said()) {
    if (command.starts_with("STAND")) all.push_back(command);
  }
  return all;
}

std::string left(const std::string& token) { return "LEAVE job " + token + " 10000 redlatch:me 0"; }

TEST(Queueing, BeginsAtOnceWhenSomebodyElseHasTheLock) {
  const Fake executor = fake_with_queue();
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->pauses.empty());
  EXPECT_EQ(executor->calls[1].commands, (std::vector<std::string>{"STAND job " + lock.token() +
                                                                   " 10000 redlatch:me 3000 new"}));
  EXPECT_NE(token_in(executor->said()[0]), lock.token());
}

TEST(Queueing, CountsALeaseThatTheAnswerGivesFromBeforeTheQuestion) {
  const Fake executor = fake_with_queue();
  executor->will(granted().after(40ms));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(lock.remaining(), 10s - drift - 40ms);
  EXPECT_EQ(executor->withdrawn, std::vector{Ending::settled});
}

TEST(Queueing, HoldsALockThatAMessageGrants) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor);
  TestLock lock = lock_on(executor, {.label = "me"});
  lock.lock();
  EXPECT_EQ(executor->said().size(), 2U);
  EXPECT_EQ(token_in(executor->said()[1]), lock.token());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Queueing, CountsAGrantFromTheLastQuestionThatWasAnswered) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(queued());
  executor->will(in_doubt());
  TestLock lock = lock_on(executor);
  executor->on_pause = [&] { executor->granted = executor->pauses.size() == 3; };
  lock.lock();
  const TimePoint answered = executor->calls[2].at;
  EXPECT_EQ(standing(executor).size(), 3U);
  EXPECT_EQ(lock.remaining(), std::chrono::floor<std::chrono::milliseconds>(answered + 10s - drift -
                                                                            executor->now()));
}

TEST(Queueing, ExtendsAGrantThatComesLate) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor, 5s);
  executor->will(says(integer(1)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->said().back(), "EXTEND job " + lock.token() + " 10000");
  EXPECT_EQ(lock.remaining(), 10s - drift);
}

TEST(Queueing, TakesAFreshTokenWhenALateGrantIsLost) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor, 20s);
  executor->will(says(integer(0)));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const std::string old = token_in(standing(executor)[0]);
  EXPECT_NE(old, lock.token());
  EXPECT_EQ(executor->posted.front().command, left(old));
}

TEST(Queueing, TakesAFreshTokenWhenTheEntryIsGone) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(gone());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const auto said = standing(executor);
  ASSERT_EQ(said.size(), 3U);
  EXPECT_EQ(token_in(said[0]), token_in(said[1]));
  EXPECT_NE(token_in(said[1]), token_in(said[2]));
  EXPECT_EQ(executor->posted.front().command, left(token_in(said[0])));
}

TEST(Queueing, JoinsAgainAtOnceWhenItsEntryIsGone) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(gone());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[3].at, executor->calls[2].at);
  EXPECT_EQ(executor->withdrawn.front(), Ending::gone);
}

TEST(Queueing, TakesAFreshTokenWhenItIsInDoubtWhetherItJoined) {
  const Fake executor = fake_with_queue();
  executor->will(in_doubt());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const auto said = standing(executor);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_NE(token_in(said[0]), token_in(said[1]));
  EXPECT_EQ(executor->calls[1].undo->command, left(token_in(said[0])));
}

TEST(Queueing, LeavesWhenAScriptFailsHalfWay) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("OOM command not allowed script: x, on @user_script:9.")));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->posted.front().command, left(token_in(standing(executor)[0])));
}

TEST(Queueing, KeepsItsTokenWhenTheServerDoesNotAnswerForAWhile) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(in_doubt());
  executor->will(away());
  executor->will(told());
  TestLock lock = lock_on(executor);
  lock.lock();
  for (const std::string& command : standing(executor)) {
    EXPECT_EQ(token_in(command), lock.token());
  }
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Queueing, ExpectsTheMessageOfAGrantThatItLearnedOfFromAnAnswer) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(told());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->withdrawn, std::vector{Ending::told});
}

TEST(Queueing, SaysAgainThatItWaitsAtEachThirdOfTheTtl) {
  const Fake executor = fake_with_queue();
  for (int i = 0; i < 3; ++i) executor->will(queued());
  executor->will(granted());
  TestLock lock = lock_on(executor, {.ttl = 600ms});
  lock.lock();
  EXPECT_EQ(executor->pauses, (std::vector<TimePoint::duration>(3, 200ms)));
  EXPECT_EQ(executor->calls[2].commands,
            (std::vector<std::string>{"STAND job " + lock.token() + " 600 redlatch:me 600 0"}));
}

TEST(Queueing, SaysHowItsEntryLooksByWhatItWasToldLast) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(8 * 1'700'000'000'000 + 2)));
  executor->will(says(integer(8 * 1'700'000'001'000 + 2)));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(1s));
  EXPECT_TRUE(standing(executor).back().ends_with(" redlatch:me 3000 1700000000000"));
  EXPECT_TRUE(executor->posted.front().command.ends_with(" redlatch:me 1700000001000"));
}

TEST(Queueing, SaysAgainThatItWaitsEverySecondAtLeast) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(granted());
  TestLock lock = lock_on(executor, {.ttl = 1h});
  lock.lock();
  EXPECT_EQ(executor->pauses, (std::vector<TimePoint::duration>{1s}));
}

TEST(Queueing, HasTheKeyWatchedAsTheFirst) {
  const Fake executor = fake_with_queue();
  executor->will(first());
  executor->will(first_and_watched(40));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[2].commands,
            (std::vector<std::string>{"STAND job " + lock.token() + " 10000 redlatch:me 3000 0",
                                      "CLIENT TRACKING ON REDIRECT 5 OPTIN", "CLIENT CACHING YES",
                                      "PTTL job"}));
  EXPECT_EQ(executor->pauses[0], 2ms);
  EXPECT_GE(executor->pauses[1], 40ms);
  EXPECT_LE(executor->pauses[1], 41ms);
}

TEST(Queueing, AsksAgainAndAgainAsTheFirstWhereKeysAreNotWatched) {
  const Fake executor = fake_with_queue();
  executor->will(first());
  for (int i = 0; i < 20; ++i) {
    executor->will(says(integer(3), refusal("NOPERM no"), refusal("ERR no"), integer(-1)));
  }
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  for (const auto pause : executor->pauses) EXPECT_LE(pause, 100ms);
}

TEST(Queueing, AsksAtOnceWhenSomethingHasHappenedToTheKeyOrTheMessages) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(granted());
  executor->on_pause = [&] { executor->changed = true; };
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[2].at, executor->calls[1].at);
}

TEST(Queueing, LeavesWhenItsTimeIsOver) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(queued());
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(300ms));
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 300ms);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left(token_in(standing(executor)[0])));
  EXPECT_EQ(executor->posted[0].ttl, 10s);
}

TEST(Queueing, LeavesWhenItIsStopped) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  std::stop_source stop;
  executor->on_pause = [&] { stop.request_stop(); };
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.lock(stop.get_token()));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("LEAVE job "));
}

TEST(Queueing, LeavesWhenALeaseIsPassedOn) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->on_pause = [&] {
    executor->passed_on = detail::TenureOf(*executor);
    executor->passed_on->begin(detail::Lease("other", executor->process()), "job");
    executor->passed_on->confirm(executor->now(), 10s);
  };
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(lock.token(), "other");
  EXPECT_EQ(executor->posted.front().command, left(token_in(standing(executor)[0])));
}

TEST(Queueing, GivesWayToAttemptsWhereTheServerRefusesIt) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("NOPERM this user has no permissions to run the 'evalsha' command")));
  executor->will(says(ok(), integer(-1), status("string")));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->address.channel.empty());
  EXPECT_TRUE(executor->said()[2].starts_with("SET job "));
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Queueing, ThrowsForAKeyThatIsNoLock) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("WRONGTYPE Operation against a key holding the wrong kind")));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::wrong_type);
}

TEST(Queueing, DrawsAFencingTokenForALockThatWasGranted) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(says(integer(77)));
  grant_while_waiting(executor);
  TestLock lock = lock_on(executor, {.fencing = true});
  lock.lock();
  EXPECT_EQ(executor->said().back(), "CLAIM_FENCED job " + lock.token() + " 10000 86400000");
  EXPECT_EQ(lock.fencing_token(), 77U);
}

TEST(Queueing, ThrowsForAFencingCounterThatIsNone) {
  const Fake executor = fake_with_queue();
  executor->will(granted());
  executor->will(says(refusal("WRONGTYPE the fencing counter is not a number")));
  TestLock lock = lock_on(executor, {.fencing = true});
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::wrong_type);
  EXPECT_TRUE(executor->posted.front().command.starts_with("LEAVE job "));
}

TEST(Queueing, GivesWayToAnAttemptWhenThereIsNoTimeForIt) {
  const Fake executor = fake(says(ok()));
  executor->contended = true;
  TestLock lock = lock_on(executor);
  executor->on_now = [&executor] { executor->advance(1ms); };
  EXPECT_TRUE(lock.try_lock_for(2ms));
  executor->on_now = {};
  EXPECT_TRUE(executor->said().front().starts_with("SET job "));
}

TEST(Queueing, IsJoinedWithoutAnAttemptWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(granted());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->said().front().starts_with("STAND job "));
  EXPECT_EQ(executor->events.size(), 1U) << "nobody contends for it";
}

TEST(Queueing, TellsContentionOnceWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(queued(), told());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 2U);
  EXPECT_EQ(executor->events[0].kind, EventKind::contended);
}

TEST(Queueing, ThrowsTheErrorOfAFirstQuestionWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(away());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::unreachable);
}

TEST(Queueing, IsNotJoinedByASingleAttempt) {
  const Fake executor = fake_with_queue();
  executor->contended = true;
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_TRUE(standing(executor).empty());
}

}  // namespace
}  // namespace redlatch::test
