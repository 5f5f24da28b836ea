#include "serve/router_cache.h"

#include <gtest/gtest.h>

namespace elrea {
namespace {

RouterCache::Feature Feature(float value, size_t size = 4) {
  return std::make_shared<const std::vector<float>>(size, value);
}

TEST(RouterCache, ForgetsThePromptThatWasUsedLongestAgo) {
  RouterCache cache(2);
  const std::vector<int32_t> a = {1}, b = {1, 2}, c = {1, 2, 3};
  cache.Store(a, Feature(1));
  cache.Store(b, Feature(2));
  EXPECT_EQ(cache.Find(a)->front(), 1);  // now b is the oldest
  cache.Store(c, Feature(3));
  EXPECT_EQ(cache.Find(b), nullptr);
  EXPECT_EQ(cache.Find(a)->front(), 1);
  EXPECT_EQ(cache.Find(c)->front(), 3);
}

TEST(RouterCache, CountsBytesOfWhatItHolds) {
  RouterCache cache(2);
  const std::vector<int32_t> a = {1}, b = {1, 2}, c = {1, 2, 3};
  EXPECT_EQ(cache.bytes(), 0);
  cache.Store(a, Feature(1, 100));
  cache.Store(a, Feature(1, 100));  // known: not counted twice
  EXPECT_EQ(cache.bytes(), 400 + 2 * 4);
  cache.Store(b, Feature(2, 10));
  cache.Store(c, Feature(3, 10));  // a leaves
  EXPECT_EQ(cache.bytes(), 40 + 2 * 8 + 40 + 2 * 12);
}

TEST(RouterCache, OfNoSizeKeepsNothing) {
  RouterCache cache(0);
  cache.Store(std::vector<int32_t>{1}, Feature(1));
  EXPECT_EQ(cache.Find(std::vector<int32_t>{1}), nullptr);
  EXPECT_EQ(cache.bytes(), 0);
}

}  // namespace
}  // namespace elrea
