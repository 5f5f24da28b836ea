#include "study/tsne.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"

namespace elrea {
namespace {

// Three well-separated blobs in 20 dimensions: a point's nearest neighbour on the map is of its own blob.
TEST(Tsne, KeepsNeighboursTogether) {
  constexpr int64_t kRows = 60, kDim = 20;
  std::vector<float> values;
  Rng rng(3, 0);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t d = 0; d < kDim; ++d)
      values.push_back(static_cast<float>((d == i % 3 ? 8 : 0) + 0.5 * rng.Normal()));
  }
  const RowMatrix rows{values.data(), kRows, kDim};
  const auto map = Tsne(rows, {.perplexity = 10, .steps = 300});
  ASSERT_EQ(map.size(), 60u);
  int64_t own = 0;
  for (int64_t i = 0; i < kRows; ++i) {
    int64_t nearest = -1;
    double best = 1e300;
    for (int64_t j = 0; j < kRows; ++j) {
      const double distance = std::hypot(map[i][0] - map[j][0], map[i][1] - map[j][1]);
      if (i != j && distance < best) {
        best = distance;
        nearest = j;
      }
    }
    own += nearest % 3 == i % 3;
  }
  EXPECT_GE(own, 58);
  EXPECT_EQ(Tsne(rows, {.perplexity = 10, .steps = 300}), map);
}

TEST(Tsne, FewRowsAreNoTrouble) {
  const std::vector<float> values = {1, 2, 3, 4};
  EXPECT_TRUE(Tsne({values.data(), 0, 2}).empty());
  EXPECT_EQ(Tsne({values.data(), 2, 2}).size(), 2u);
}

}  // namespace
}  // namespace elrea
