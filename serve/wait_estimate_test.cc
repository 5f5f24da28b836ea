#include "serve/wait_estimate.h"

#include <gtest/gtest.h>

namespace elrea {
namespace {

TEST(WaitEstimate, SaysNothingOfTheFirstRoundsWhichReadPrompts) {
  WaitEstimate wait;
  EXPECT_EQ(wait.Seconds(100), 0);
  wait.AddRound(1, 2);  // reckoned by these alone, 100 requests of 64 tokens would wait for 3.5 hours
  wait.AddRound(0, 2);
  EXPECT_EQ(wait.Seconds(100), 0);
}

TEST(WaitEstimate, IsTheWorkBeforeByTheSpeedOfLate) {
  WaitEstimate wait;
  for (int round = 0; round < 3000; ++round) wait.AddRound(2, 0.02);  // 100 tokens/s
  EXPECT_NEAR(wait.Seconds(50), 50 * 64 / 100.0, 0.1);
  EXPECT_EQ(wait.Seconds(0), 0);
  for (int job = 0; job < 200; ++job) wait.AddJob(10);
  EXPECT_NEAR(wait.Seconds(50), 50 * 10 / 100.0, 0.1);
}

TEST(WaitEstimate, ForgetsASpeedOfLongAgo) {
  WaitEstimate wait;
  for (int round = 0; round < 100; ++round) wait.AddRound(100, 1);
  for (int round = 0; round < 100; ++round) wait.AddRound(10, 1);
  EXPECT_NEAR(wait.Seconds(1), 6.4, 0.1);
}

TEST(WaitEstimate, OfAServerThatDecodesNothingIsUnknown) {
  WaitEstimate wait;
  for (int round = 0; round < 100; ++round) wait.AddRound(0, 1);
  EXPECT_EQ(wait.Seconds(10), 0);
}

}  // namespace
}  // namespace elrea
