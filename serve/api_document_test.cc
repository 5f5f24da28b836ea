#include "serve/api_document.h"

#include <gtest/gtest.h>

#include <regex>

namespace elrea {
namespace {

TEST(ApiDocument, ThePatternTakesTheNumbersAndNoOthers) {
  for (const int64_t last : {0, 7, 9, 10, 19, 99, 100, 305, 1000, 2090}) {
    const std::regex pattern(NumbersUpTo(last));
    for (int64_t number = 0; number < 12000; ++number) {
      ASSERT_EQ(std::regex_match(std::to_string(number), pattern), number <= last)
          << number << " of " << last;
    }
    for (const char* other : {"", "-1", "01", "00", "1.0", "a", "1a"}) {
      EXPECT_FALSE(std::regex_match(other, pattern)) << other;
    }
  }
}

TEST(ApiDocument, WithoutRunsItIsTheFile) {
  const Json document = ApiDocument({});
  EXPECT_EQ(document["components"]["schemas"]["TokenIds"]["items"]["maximum"], INT32_MAX);
  EXPECT_TRUE(document["paths"].contains("/v1/chat/completions"));
}

}  // namespace
}  // namespace elrea
