#include "core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "core/expect_error.h"

namespace elrea {
namespace {

TEST(RngTest, MixBitsIsSplitMix64) {
  // First outputs of the reference SplitMix64 with state 0: finaliser of k times the golden gamma.
  EXPECT_EQ(MixBits(0x9e3779b97f4a7c15ULL), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(MixBits(2 * 0x9e3779b97f4a7c15ULL), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(MixBits(3 * 0x9e3779b97f4a7c15ULL), 0x06c45d188009454fULL);
}

TEST(RngTest, SequentialDrawsEqualIndexedDraws) {
  Rng rng(7, 3);
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(rng.Bits(), RandomBits(7, 3, i));
  }
  Rng uniform(7, 3);
  EXPECT_EQ(uniform.Uniform(), RandomUniform(7, 3, 0));
}

TEST(RngTest, SeedsStreamsAndIndicesGiveDifferentNumbers) {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    for (uint64_t stream = 0; stream < 20; ++stream) {
      for (uint64_t index = 0; index < 20; ++index) seen.insert(RandomBits(seed, stream, index));
    }
  }
  EXPECT_EQ(seen.size(), 8000u);
}

TEST(RngTest, UniformHasTheRightMomentsAndRange) {
  Rng rng(1);
  double sum = 0, sum_squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = rng.Uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    sum_squares += u * u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(sum_squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

TEST(RngTest, NormalHasTheRightMoments) {
  Rng rng(2);
  std::array<double, 5> moments{};
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.Normal();
    double power = 1;
    for (double& moment : moments) {
      moment += power / kDraws;
      power *= x;
    }
  }
  EXPECT_NEAR(moments[1], 0.0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(moments[2], 1.0, 5 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(moments[3], 0.0, 5 * std::sqrt(15.0 / kDraws));
  EXPECT_NEAR(moments[4], 3.0, 5 * std::sqrt(96.0 / kDraws));
}

TEST(RngTest, BelowIsUniform) {
  Rng rng(3);
  constexpr int kDraws = 70000;
  std::array<int, 7> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts[rng.Below(7)];
  double chi_squared = 0;
  for (int count : counts) chi_squared += (count - 1e4) * (count - 1e4) / 1e4;
  EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom, p = 0.001
}

TEST(RngTest, BelowHandlesTheExtremes) {
  Rng rng(4);
  EXPECT_EQ(rng.Below(1), 0u);
  const uint64_t bound = (uint64_t{1} << 63) + 1;  // half of all draws are biased here and must be rejected
  int above_half = 0;
  for (int i = 0; i < 2000; ++i) {
    const uint64_t drawn = rng.Below(bound);
    ASSERT_LT(drawn, bound);
    above_half += drawn > bound / 2 ? 1 : 0;
  }
  EXPECT_NEAR(above_half, 1000, 150);
}

TEST(RngTest, PermutationHoldsEachNumberOnceAndDependsOnTheSeed) {
  std::vector<int64_t> first = RandomPermutation(1000, 5);
  EXPECT_EQ(first, RandomPermutation(1000, 5));
  EXPECT_NE(first, RandomPermutation(1000, 6));
  EXPECT_NE(first, RandomPermutation(1000, 5, 1));
  std::vector<int64_t> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_NE(first, expected);
  std::sort(first.begin(), first.end());
  EXPECT_EQ(first, expected);
  EXPECT_TRUE(RandomPermutation(0, 5).empty());
}

TEST(RngTest, AllPermutationsOfThreeAreEquallyLikely) {
  std::array<int, 27> counts{};
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    const auto order = RandomPermutation(3, seed);
    ++counts[static_cast<size_t>(order[0] * 9 + order[1] * 3 + order[2])];
  }
  for (int count : counts) {
    if (count > 0) {
      EXPECT_NEAR(count, 1000, 150);
    }
  }
  EXPECT_EQ(std::count(counts.begin(), counts.end(), 0), 21);
}

TEST(RngTest, SampleIsAscendingWithoutRepeats) {
  const auto sample = RandomSample(1000, 50, 9);
  ASSERT_EQ(sample.size(), 50u);
  EXPECT_EQ(sample, RandomSample(1000, 50, 9));
  for (size_t i = 1; i < sample.size(); ++i) EXPECT_LT(sample[i - 1], sample[i]);
  EXPECT_GE(sample.front(), 0);
  EXPECT_LT(sample.back(), 1000);
  EXPECT_EQ(RandomSample(4, 4, 1), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_TRUE(RandomSample(4, 0, 1).empty());
}

TEST(RngTest, EachItemIsSampledEquallyOften) {
  std::array<int, 10> counts{};
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    for (int64_t item : RandomSample(10, 3, seed)) ++counts[static_cast<size_t>(item)];
  }
  for (int count : counts) EXPECT_NEAR(count, 1500, 5 * std::sqrt(5000 * 0.3 * 0.7));
}

TEST(RngTest, ImpossibleSizesAreRefused) {
  ExpectError(ErrorKind::kInternal, {"5 from 4"}, [] { RandomSample(4, 5, 1); });
  ExpectError(ErrorKind::kInternal, {"-1"}, [] { RandomPermutation(-1, 1); });
}

}  // namespace
}  // namespace elrea
