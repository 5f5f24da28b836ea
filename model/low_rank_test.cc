// Low-rank updates of several rows against plain sums, and against each row by itself.
#include "model/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/rng.h"

namespace elrea {
namespace {

template <typename T>
std::vector<T> RandomValues(size_t count, uint64_t seed) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<T>(static_cast<float>(RandomUniform(seed, 0, i)) - 0.5f);
  return values;
}

template <typename T>
class LowRankTest : public testing::Test {};
using Types = testing::Types<float, c10::BFloat16>;
TYPED_TEST_SUITE(LowRankTest, Types);

// Ranks and rows that are no multiples of four, rows with gaps between them.
TYPED_TEST(LowRankTest, DotsAreThoseOfEachRowAlone) {
  constexpr int64_t kIn = 48, kStride = 53, kOutStride = 11;
  for (const int64_t rank : {1, 4, 6, 8}) {
    const std::vector<TypeParam> a = RandomValues<TypeParam>(static_cast<size_t>(rank * kIn), 1);
    for (int64_t count = 1; count <= 9; ++count) {
      const std::vector<float> x = RandomValues<float>(static_cast<size_t>(count * kStride), 2);
      std::vector<float> h(static_cast<size_t>(count * kOutStride), NAN), alone(static_cast<size_t>(rank));
      RowDots<float>({x.data(), kStride}, count, a.data(), rank, kIn, {h.data(), kOutStride});
      for (int64_t r = 0; r < count; ++r) {
        RowDots<float>({x.data() + r * kStride, 0}, 1, a.data(), rank, kIn, {alone.data(), 0});
        for (int64_t j = 0; j < rank; ++j) {
          double expected = 0;
          for (int64_t i = 0; i < kIn; ++i)
            expected += static_cast<double>(x[r * kStride + i]) * static_cast<float>(a[j * kIn + i]);
          EXPECT_NEAR(h[r * kOutStride + j], expected, 1e-5);
          EXPECT_EQ(h[r * kOutStride + j], alone[j]) << "rank " << rank << ", row " << r << " of " << count;
        }
        EXPECT_TRUE(std::isnan(h[r * kOutStride + rank]));
      }
    }
  }
}

TYPED_TEST(LowRankTest, SumsAreThoseOfEachRowAlone) {
  constexpr int64_t kOut = 112, kColumns = 96, kStride = 101, kRank = 5;  // 96: four vectors, and two by themselves
  const std::vector<TypeParam> b_t = RandomValues<TypeParam>(kRank * kOut, 3);
  for (int64_t count = 1; count <= 9; ++count) {
    const std::vector<float> h = RandomValues<float>(static_cast<size_t>(count * 7), 4);
    const std::vector<float> before = RandomValues<float>(static_cast<size_t>(count * kStride), 5);
    std::vector<float> y = before, alone = before;
    AddOuter<TypeParam, float>({h.data(), 7}, count, b_t.data(), kOut, kRank, kColumns, 2, {y.data(), kStride});
    for (int64_t r = 0; r < count; ++r) {
      AddOuter<TypeParam, float>({h.data() + r * 7, 0}, 1, b_t.data(), kOut, kRank, kColumns, 2, {alone.data() + r * kStride, 0});
      for (int64_t i = 0; i < kColumns; ++i) {
        double expected = before[r * kStride + i];
        for (int64_t j = 0; j < kRank; ++j) expected += 2.0 * h[r * 7 + j] * static_cast<float>(b_t[j * kOut + i]);
        EXPECT_NEAR(y[r * kStride + i], expected, 1e-5);
      }
    }
    EXPECT_EQ(y, alone) << count << " rows";  // what lies between the rows included
  }
}

}  // namespace
}  // namespace elrea
