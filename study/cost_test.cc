#include "study/cost.h"

#include <gtest/gtest.h>

namespace elrea {
namespace {

TEST(SecondsOfAll, RowsOfEarlierSessionsCountAsMuch) {
  EXPECT_EQ(SecondsOfAll(6, 20, 20), 6);
  EXPECT_EQ(SecondsOfAll(6, 5, 20), 24);
  EXPECT_EQ(SecondsOfAll(6, 0, 20), 0);
}

}  // namespace
}  // namespace elrea
