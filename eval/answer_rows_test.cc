#include "eval/answer_rows.h"

#include <gtest/gtest.h>

namespace elrea {
namespace {

TEST(MajorityVote, CountsEqualValuesAsOneAnswer) {
  EXPECT_EQ(MajorityVote({"3", "1/2", "0.5", "4"}), 1u);
  EXPECT_EQ(MajorityVote({"7", "8", "8"}), 1u);
}

TEST(MajorityVote, TheFirstOfEqualsWinsAndEmptyAnswersDoNotVote) {
  EXPECT_EQ(MajorityVote({"", "", "5", "6"}), 2u);
  EXPECT_EQ(MajorityVote({"", ""}), 0u);
}

}  // namespace
}  // namespace elrea
