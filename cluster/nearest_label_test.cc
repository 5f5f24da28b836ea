#include "cluster/nearest_label.h"

#include <gtest/gtest.h>

#include <numeric>

#include "cluster/byte_products.h"
#include "cluster/label_screen.h"
#include "cluster/random_rotation.h"
#include "cluster/testing.h"
#include "cluster/vector_math.h"

namespace elrea {
namespace {

std::vector<int64_t> NaiveLabels(RowMatrix centers, const std::vector<int64_t>& labels, RowMatrix rows) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < rows.rows; ++i) {
    int64_t nearest = 0;
    for (int64_t c = 1; c < centers.rows; ++c) {
      if (SquaredDistance(rows.row(i).data(), centers.row(c).data(), rows.dim) <
          SquaredDistance(rows.row(i).data(), centers.row(nearest).data(), rows.dim)) {
        nearest = c;
      }
    }
    result.push_back(labels[nearest]);
  }
  return result;
}

TEST(NearestLabelTest, ProductPathEqualsTheNaiveOne) {
  for (int64_t dim : {2, 63, 257}) {
    const TestRows centers = UnitMixture(300, dim, 10, 0.8, 1), rows = UnitMixture(150, dim, 10, 0.8, 2);
    std::vector<int64_t> labels(300);
    std::iota(labels.begin(), labels.end(), 0);
    EXPECT_EQ(NearestLabelsExact(centers.view(), labels, rows.view()),
              NaiveLabels(centers.view(), labels, rows.view()));
  }
}

TEST(NearestLabelTest, FirstOfEqualCentersCounts) {
  const TestRows centers{{1, 0, 0, 1, 1, 0}, 2}, rows{{1, 0, 0.5f, 0.5f}, 2};
  EXPECT_EQ(NearestLabels(centers.view(), {7, 8, 9}, rows.view()), (std::vector<int64_t>{7, 7}));
}

// Labels in contiguous blocks, separated labels, labels that disagree among near neighbours, and rows that
// are centers.
class LabelScreenTest : public testing::TestWithParam<int> {};

TEST_P(LabelScreenTest, EqualsTheExactLabels) {
  constexpr int64_t kDim = 2500, kCenters = 400;
  const int num_labels = GetParam();
  const TestRows centers = UnitMixture(kCenters, kDim, 10, 2.5, 1);
  TestRows rows = UnitMixture(200, kDim, 10, 2.5, 1);
  const TestRows others = UnitMixture(200, kDim, 10, 2.5, 6);
  rows.values.insert(rows.values.end(), others.values.begin(), others.values.end());
  for (size_t i = rows.values.size() / 2; i < rows.values.size(); ++i) rows.values[i] += centers.values[i];
  std::vector<int64_t> labels;
  for (int64_t c = 0; c < kCenters; ++c) labels.push_back(c % 10 % num_labels);
  if (num_labels > 10) std::iota(labels.begin(), labels.end(), 0);
  std::vector<int64_t> screened(rows.view().rows, -1);
  LabelScreen(centers.view(), labels).Label(rows.view(), screened.data());
  const std::vector<int64_t> exact = NearestLabelsExact(centers.view(), labels, rows.view());
  int64_t num_open = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    if (screened[i] < 0) {
      ++num_open;
    } else {
      ASSERT_EQ(screened[i], exact[i]) << "row " << i;
    }
  }
  // Rows that are centers are always decided; every row has its own label only in the hardest case.
  EXPECT_LE(num_open, num_labels > 10 ? 200 : 40);
  EXPECT_EQ(NearestLabels(centers.view(), labels, rows.view()), exact);
}

INSTANTIATE_TEST_SUITE_P(Labels, LabelScreenTest, testing::Values(1, 2, 5, 10, 400));

TEST(LabelScreenTest, EqualScoresGoToTheEarlierCenter) {
  constexpr int64_t kDim = 2048;
  TestRows centers = UnitMixture(200, kDim, 200, 0, 4);
  // Center 150 repeats center 20 under another label.
  std::copy_n(centers.values.begin() + 20 * kDim, kDim, centers.values.begin() + 150 * kDim);
  std::vector<int64_t> labels(200);
  std::iota(labels.begin(), labels.end(), 0);
  const RowMatrix row = centers.view().Slice(150, 1);
  EXPECT_EQ(NearestLabels(centers.view(), labels, row), std::vector<int64_t>{20});
}

TEST(RandomRotationTest, KeepsNormsAndEstimatesProducts) {
  const int64_t dim = 3000;
  const RandomRotation rotation(dim, 5);
  EXPECT_EQ(rotation.padded_dim(), 4096);
  // The hardest rows for sampling: all weight on three coordinates.
  std::vector<float> x(dim, 0.0f), z(dim, 0.0f), shift(dim, 0.0f);
  x[0] = x[1024] = x[2048] = 1;
  z[0] = 2;
  z[1024] = -1;
  std::vector<float> rx(4096), rz(4096);
  rotation.Apply(x.data(), shift.data(), rx.data());
  rotation.Apply(z.data(), shift.data(), rz.data());
  EXPECT_NEAR(Dot(rx.data(), rx.data(), 4096), 3, 1e-4);
  EXPECT_NEAR(Dot(rx.data(), rz.data(), 4096), 1, 1e-4);
  for (int64_t part = 0; part < 4; ++part) {
    const double estimate = 4 * Dot(rx.data() + part * 1024, rz.data() + part * 1024, 1024);
    EXPECT_NEAR(estimate, 1, 4 * std::sqrt(0.75 / 1024 * (3 * 5 + 1))) << "part " << part;
  }
}

TEST(ByteProductsTest, FastAndPortablePathsAgree) {
  constexpr int64_t kDim = 132, kRows = 70, kLeft = 13;
  Rng rng(2);
  std::vector<int8_t> left(kLeft * kDim), rows(kRows * kDim);
  for (int8_t& value : left) value = static_cast<int8_t>(static_cast<int64_t>(rng.Below(255)) - 127);
  for (int8_t& value : rows) value = static_cast<int8_t>(static_cast<int64_t>(rng.Below(255)) - 127);
  BytePanel panel(kRows, kDim);
  for (int64_t i = 0; i < kRows; ++i) panel.SetRow(i, rows.data() + i * kDim);
  std::vector<int32_t> fast(kLeft * panel.padded_rows()), portable(fast.size());
  panel.Products(left.data(), kLeft, fast.data());
  panel.ProductsPortable(left.data(), kLeft, portable.data());
  EXPECT_EQ(fast, portable);
  for (int64_t i = 0; i < kLeft; ++i) {
    for (int64_t j = 0; j < kRows; ++j) {
      int32_t expected = 0;
      for (int64_t d = 0; d < kDim; ++d) expected += left[i * kDim + d] * rows[j * kDim + d];
      ASSERT_EQ(fast[i * panel.padded_rows() + j], expected);
      ASSERT_EQ(ByteDot(left.data() + i * kDim, rows.data() + j * kDim, kDim), expected);
    }
  }
}

TEST(ByteProductsTest, QuantizeRoundsToTheNearestStep) {
  const std::vector<float> values = {-2.0f, 0.0f, 1.0f, 0.0079f, 0.0078f};
  std::vector<int8_t> bytes(5);
  const float scale = Quantize(values.data(), 5, bytes.data());
  EXPECT_FLOAT_EQ(scale, 2.0f / 127);
  EXPECT_EQ(bytes, (std::vector<int8_t>{-127, 0, 64, 1, 0}));
  const std::vector<float> zeros(5, 0.0f);
  EXPECT_EQ(Quantize(zeros.data(), 5, bytes.data()), 0);
}

}  // namespace
}  // namespace elrea
