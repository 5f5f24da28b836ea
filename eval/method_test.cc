#include "eval/method.h"

#include <gtest/gtest.h>

#include <set>

#include "core/expect_error.h"

namespace elrea {
namespace {

TEST(Methods, AreNamedOnceAndCompareWithOneThatExists) {
  std::set<std::string> names;
  for (const Method& method : Methods()) {
    EXPECT_TRUE(names.insert(method.name).second) << method.name;
    EXPECT_TRUE(method.compare_with.empty() || names.contains(method.compare_with)) << method.name;
    EXPECT_FALSE(method.help.empty()) << method.name;
    if (method.routed) {
      EXPECT_EQ(method.needs, MethodNeeds::kExperts) << method.name;
    }
  }
}

TEST(Methods, TheBackboneNeedsNoAdapter) {
  const auto members = FindMethod("backbone").members(ExpertBank(), Routing{});
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].adapter, nullptr);
}

TEST(Methods, AnUnknownNameIsAnErrorWithTheNearest) {
  ExpectError(ErrorKind::kInvalidInput, {"ensembl", "did you mean ensemble?"}, [] { FindMethod("ensembl"); });
  ExpectError(ErrorKind::kInvalidInput, {"backbone, base, ensemble"}, [] { FindMethod("qqqqqqqqqqqq"); });
}

}  // namespace
}  // namespace elrea
