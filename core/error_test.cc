#include "core/error.h"

#include <gtest/gtest.h>

#include <set>

namespace elrea {
namespace {

TEST(ErrorTest, TextIsTheMessageUntilContextIsAdded) {
  Error error(ErrorKind::kCorrupt, "bad magic");
  EXPECT_STREQ(error.what(), "bad magic");
  error.AddContext("loading expert 3");
  error.AddContext("routing");
  EXPECT_STREQ(error.what(), "routing: loading expert 3: bad magic");
  EXPECT_EQ(error.message(), "bad magic");
  EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
}

TEST(ErrorTest, WithContextAddsAFrameAndKeepsTheKind) {
  try {
    WithContext("outer", [] { WithContext("inner", [] { throw Error(ErrorKind::kNotFound, "no x"); }); });
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "outer: inner: no x");
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  }
}

TEST(ErrorTest, WithContextReturnsWhatTheBodyReturns) {
  int value = 1;
  EXPECT_EQ(WithContext("frame", [] { return 7; }), 7);
  int& same = WithContext("frame", [&]() -> int& { return value; });
  EXPECT_EQ(&same, &value);
}

TEST(ErrorTest, WithContextLetsOtherExceptionsPass) {
  EXPECT_THROW(WithContext("frame", [] { throw std::bad_alloc(); }), std::bad_alloc);
}

TEST(ErrorTest, ExitCodesDifferAndAreNeverSuccess) {
  std::set<int> codes;
  for (ErrorKind kind : {ErrorKind::kInvalidInput, ErrorKind::kNotFound, ErrorKind::kCorrupt, ErrorKind::kIo,
                         ErrorKind::kUnavailable, ErrorKind::kInternal}) {
    const int code = ExitCode(kind);
    EXPECT_GT(code, 1);  // 1 is what an uncaught fault of another program gives
    EXPECT_LT(code, 126);
    codes.insert(code);
  }
  EXPECT_EQ(codes.size(), 6u);
}

}  // namespace
}  // namespace elrea
