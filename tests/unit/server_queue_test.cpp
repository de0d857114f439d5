// What is said in the queue, and what follows from the answers.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "queueing.hpp"

namespace redlatch::test {
namespace server_queue_test {

TEST(ServerQueue, BeginsAtOnceWhenSomebodyElseHasTheLock) {
  const Fake executor = fake_with_queue();
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->pauses.empty());
  EXPECT_EQ(executor->calls[1].commands, (std::vector<std::string>{"STAND job " + lock.token() +
                                                                   " 10000 redlatch:me 3000 new"}));
  EXPECT_NE(token_in(executor->said()[0]), lock.token());
}

TEST(ServerQueue, CountsALeaseThatTheAnswerGivesFromBeforeTheQuestion) {
  const Fake executor = fake_with_queue();
  executor->will(granted().after(40ms));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(lock.remaining(), 10s - drift - 40ms);
  EXPECT_EQ(executor->withdrawn, std::vector{Ending::settled});
}

TEST(ServerQueue, HoldsALockThatAMessageGrants) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor);
  TestLock lock = lock_on(executor, {.label = "me"});
  lock.lock();
  EXPECT_EQ(executor->said().size(), 2U);
  EXPECT_EQ(token_in(executor->said()[1]), lock.token());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(ServerQueue, CountsAGrantFromTheLastQuestionThatWasAnswered) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(queued());
  executor->will(in_doubt());
  TestLock lock = lock_on(executor);
  executor->on_pause = [&] { executor->granted = executor->pauses.size() == 3; };
  lock.lock();
  const TimePoint answered = executor->calls[2].at;
  EXPECT_EQ(status(executor).size(), 3U);
  EXPECT_EQ(lock.remaining(), std::chrono::floor<std::chrono::milliseconds>(answered + 10s - drift -
                                                                            executor->now()));
}

/// It may still be carried out, behind the grant and behind the extension.
TEST(ServerQueue, IsNotExtendedForLongerThanARefreshThatWasNotAnsweredGives) {
  for (const Answer& answer :
       {in_doubt(), says(refusal("OOM not allowed script: f00, on @user_script:1."))}) {
    const Fake executor = fake_with_queue();
    executor->will(queued());
    executor->will(answer);
    executor->on_pause = [&] { executor->granted = executor->pauses.size() == 2; };
    TestLock lock = lock_on(executor);
    lock.lock();
    executor->will(says(integer(1)));
    EXPECT_TRUE(lock.extend(30s));
    EXPECT_EQ(lock.remaining(), 10s - drift);
  }
}

/// The refresh of the waiter before it, which ran out of memory and left it the entry.
TEST(ServerQueue, IsNotExtendedForLongerThanARefreshThatEndedWithAnExceptionGives) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(out_of_memory());
  executor->entry_is_inherited = true;
  TestLock before = lock_on(executor);
  EXPECT_THROW(before.lock(), std::bad_alloc);
  ASSERT_TRUE(executor->entry);
  executor->granted = true;
  executor->will(says(nil()));  // to the first attempt
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(status(executor).size(), 2U) << "of the waiter before it";
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(30s));
  EXPECT_EQ(lock.remaining(), 10s - drift);
}

TEST(ServerQueue, IsExtendedForAsLongAsToldWhenEveryRefreshWasAnswered) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(away());
  executor->on_pause = [&] { executor->granted = executor->pauses.size() == 2; };
  TestLock lock = lock_on(executor);
  lock.lock();
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(30s));
  EXPECT_EQ(lock.remaining(), 30s - 302ms);
}

TEST(ServerQueue, ExtendsAGrantThatComesLate) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor, 5s);
  executor->will(says(integer(1)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->said().back(), "EXTEND job " + lock.token() + " 10000");
  EXPECT_EQ(lock.remaining(), 10s - drift);
}

TEST(ServerQueue, TakesAFreshTokenWhenALateGrantIsLost) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  grant_while_waiting(executor, 20s);
  executor->will(says(integer(0)));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const std::string old = token_in(status(executor)[0]);
  EXPECT_NE(old, lock.token());
  EXPECT_EQ(executor->posted.front().command, left(old));
}

TEST(ServerQueue, KeepsItsEntryWhileAnotherThreadOpensTheChannelAnew) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->on_pause = [server = executor.get()] {
    server->address = {.is_pending = true};
    server->granted = server->pauses.size() == 3;
  };
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(status(executor).size(), 1U);
  EXPECT_TRUE(executor->posted.empty());
  EXPECT_EQ(token_in(executor->said()[1]), lock.token());
}

TEST(ServerQueue, TakesAFreshTokenWhenTheEntryIsGone) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(gone());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const auto said = status(executor);
  ASSERT_EQ(said.size(), 3U);
  EXPECT_EQ(token_in(said[0]), token_in(said[1]));
  EXPECT_NE(token_in(said[1]), token_in(said[2]));
  EXPECT_EQ(executor->posted.front().command, left(token_in(said[0])));
}

TEST(ServerQueue, JoinsAgainAtOnceWhenItsEntryIsGone) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(gone());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[3].at, executor->calls[2].at);
  EXPECT_EQ(executor->withdrawn.front(), Ending::gone);
}

/// As when its process was stopped. It is no sign that messages do not arrive.
TEST(ServerQueue, BlamesNoConnectionForAnEntryThatItDidNotRefreshInTime) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  Answer late = gone();
  late.delay = 10s;
  executor->will(late);
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->withdrawn.front(), Ending::settled);
}

TEST(ServerQueue, TakesAFreshTokenWhenItIsInDoubtWhetherItJoined) {
  const Fake executor = fake_with_queue();
  executor->will(in_doubt());
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  const auto said = status(executor);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_NE(token_in(said[0]), token_in(said[1]));
  EXPECT_EQ(executor->calls[1].cleanup->command, left(token_in(said[0])));
}

TEST(ServerQueue, LeavesWhenAScriptFailsHalfWay) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("OOM command not allowed script: x, on @user_script:9.")));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->posted.front().command, left(token_in(status(executor)[0])));
}

TEST(ServerQueue, KeepsItsTokenWhenTheServerDoesNotAnswerForAWhile) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(in_doubt());
  executor->will(away());
  executor->will(notified());
  TestLock lock = lock_on(executor);
  lock.lock();
  for (const std::string& command : status(executor)) {
    EXPECT_EQ(token_in(command), lock.token());
  }
  EXPECT_TRUE(executor->posted.empty());
}

TEST(ServerQueue, ExpectsTheMessageOfAGrantThatItLearnedOfFromAnAnswer) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(notified());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->withdrawn, std::vector{Ending::notified});
}

TEST(ServerQueue, SaysAgainThatItWaitsAtEachThirdOfTheTtl) {
  const Fake executor = fake_with_queue();
  for (int i = 0; i < 3; ++i) executor->will(queued());
  executor->will(granted());
  TestLock lock = lock_on(executor, {.ttl = 600ms});
  lock.lock();
  EXPECT_EQ(executor->pauses, (std::vector<TimePoint::duration>(3, 200ms)));
  EXPECT_EQ(executor->calls[2].commands,
            (std::vector<std::string>{"STAND job " + lock.token() + " 600 redlatch:me 600 0"}));
}

TEST(ServerQueue, SaysHowItsEntryLooksByWhatItWasToldLast) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(8 * 1'700'000'000'000 + 2)));
  executor->will(says(integer(8 * 1'700'000'001'000 + 2)));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(1s));
  EXPECT_TRUE(status(executor).back().ends_with(" redlatch:me 3000 1700000000000"));
  EXPECT_TRUE(executor->posted.front().command.ends_with(" redlatch:me 1700000001000"));
}

TEST(ServerQueue, SaysAgainThatItWaitsEverySecondAtLeast) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(granted());
  TestLock lock = lock_on(executor, {.ttl = 1h});
  lock.lock();
  EXPECT_EQ(executor->pauses, (std::vector<TimePoint::duration>{1s}));
}

TEST(ServerQueue, HasTheKeyWatchedAsTheFirst) {
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

TEST(ServerQueue, AsksAgainAndAgainAsTheFirstWhereKeysAreNotWatched) {
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

TEST(ServerQueue, AsksAtOnceWhenSomethingHasHappenedToTheKeyOrTheMessages) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(granted());
  executor->on_pause = [&] { executor->changed = true; };
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[2].at, executor->calls[1].at);
}

/// As of a key of the same name in another database.
TEST(ServerQueue, AsksLessAndLessOftenWhenTheKeyChangesAllTheTime) {
  const Fake executor = fake_with_queue();
  executor->will(first());
  for (int i = 0; i < 1000; ++i) executor->will(first_and_watched(60'000));
  std::size_t calls = 0;
  executor->on_pause = [&] {
    executor->changed = std::exchange(calls, executor->calls.size()) < executor->calls.size();
  };
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(1s));
  EXPECT_GE(executor->calls.size(), 10U);
  EXPECT_LE(executor->calls.size(), 50U);
}

TEST(ServerQueue, AsksAtOnceAgainWhenTheKeyHasNotChangedForAWhile) {
  const Fake executor = fake_with_queue();
  executor->will(first());
  for (int i = 0; i < 1000; ++i) executor->will(first_and_watched(60'000));
  std::size_t calls = 0;
  TimePoint change{};
  executor->on_pause = [&] {
    executor->changed = std::exchange(calls, executor->calls.size()) < executor->calls.size();
    if (calls < 15 || change != TimePoint{}) return;
    executor->advance(300ms);
    executor->changed = true;
    change = executor->now();
  };
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(5s));
  EXPECT_EQ(executor->calls[15].at, change);
}

// While a cluster moves the slot of the key, and has the lock and its queue at different nodes

const protocol::Reply apart = refusal("TRYAGAIN Multiple keys request during rehashing of slot");

bool is_attempt(const std::string& command) { return command.starts_with("SET job "); }

TEST(ServerQueue, MakesAnAttemptWithoutAnEntryWhileASlotIsMoved) {
  const Fake executor = fake_with_queue();
  executor->will(says(apart));
  executor->will(says(ok()));
  TestLock lock = lock_on(executor);
  lock.lock();
  ASSERT_EQ(executor->calls.size(), 3U);
  EXPECT_EQ(status(executor).size(), 1U);
  EXPECT_TRUE(is_attempt(executor->calls[2].commands.front()));
  EXPECT_EQ(executor->calls[2].at, executor->calls[1].at) << "at once";
  EXPECT_EQ(executor->withdrawn, std::vector{Ending::settled});
  EXPECT_TRUE(executor->posted.empty()) << "no entry was made";
}

TEST(ServerQueue, IsEnteredAgainOnceTheSlotIsMoved) {
  const Fake executor = fake_with_queue();
  for (int i = 0; i < 2; ++i) {
    executor->will(says(apart));
    executor->will(says(nil(), integer(5000)));
  }
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_FALSE(executor->address.channel.empty()) << "the queue is not given up";
  const std::vector<std::string> entries = status(executor);
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(token_in(entries.back()), lock.token());
  EXPECT_NE(token_in(entries[0]), token_in(entries[1]));
  EXPECT_FALSE(executor->pauses.empty());
}

TEST(ServerQueue, IsLeftByAnEntryWhoseRefreshMeetsASlotThatIsMoved) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(says(apart));
  executor->will(says(ok()));
  TestLock lock = lock_on(executor);
  lock.lock();
  ASSERT_EQ(executor->calls.size(), 4U);
  EXPECT_TRUE(is_attempt(executor->calls.back().commands.front()));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted.front().command, left(token_in(status(executor).front())));
  EXPECT_FALSE(executor->address.channel.empty());
}

TEST(ServerQueue, IsWaitedForThroughASlotThatIsAtNoNode) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("CLUSTERDOWN Hash slot not served")));
  executor->will(granted());
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(status(executor).size(), 2U);
  EXPECT_FALSE(executor->address.channel.empty());
  EXPECT_TRUE(executor->posted.empty());
}

}  // namespace server_queue_test
}  // namespace redlatch::test
