#include "train/group_options.h"

#include <gtest/gtest.h>

namespace elrea {
namespace {

const std::vector<std::vector<int64_t>> kGroups = {{4, 5, 6, 7}, {0, 9}, {1, 2, 3, 8, 10, 11, 12, 13, 14, 15}};

TEST(OptionsOfGroups, SeedsFollowTheFirstRows) {
  const FinetuneOptions options{.batch_size = 8, .learning_rate = 0.25, .seed = 7};
  const auto each = OptionsOfGroups(options, /*equal_steps=*/false, kGroups, 16);
  ASSERT_EQ(each.size(), 3u);
  EXPECT_EQ(each[0].seed, 10);
  EXPECT_EQ(each[1].seed, 8);
  EXPECT_EQ(each[2].seed, 9);
  for (const FinetuneOptions& own : each) {
    EXPECT_EQ(own.batch_size, 8);
    EXPECT_EQ(own.learning_rate, 0.25);
  }
}

TEST(OptionsOfGroups, ANumberingChangesNothing) {
  const FinetuneOptions options{.batch_size = 8};
  const auto each = OptionsOfGroups(options, true, kGroups, 16);
  const auto turned = OptionsOfGroups(options, true, {kGroups[2], kGroups[0], kGroups[1]}, 16);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(turned[(i + 1) % 3].seed, each[i].seed);
    EXPECT_EQ(turned[(i + 1) % 3].batch_size, each[i].batch_size);
  }
}

TEST(OptionsOfGroups, EqualStepsTakeASharedBatch) {
  const auto each = OptionsOfGroups({.batch_size = 8}, true, kGroups, 16);
  EXPECT_EQ(each[0].batch_size, 2);
  EXPECT_EQ(each[1].batch_size, 1);
  EXPECT_EQ(each[2].batch_size, 5);
}

}  // namespace
}  // namespace elrea
