#include "cluster/birch.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cstring>
#include <limits>

#include "cluster/testing.h"
#include "core/error.h"
#include "core/json.h"
#include "core/safetensors.h"

namespace elrea {
namespace {

// Data sets with the labels of scikit-learn, from tools/oracle/birch_golden.py.
const SafetensorsFile& Golden() {
  static const SafetensorsFile file(fs::path(ELREA_SOURCE_DIR) / "tests/golden/birch.safetensors");
  return file;
}

class BirchGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(BirchGoldenTest, GivesScikitLearnsSubclustersAndLabels) {
  const std::string name = GetParam();
  const Json about = ParseJson(Golden().metadata().at(name), name);
  const TensorView& stored = Golden().Get(name + ".rows");
  TestRows rows{{}, stored.shape[1]};
  const double scale = about["scale"];
  for (size_t i = 0; i < stored.bytes.size() / 2; ++i) {
    int16_t value;
    std::memcpy(&value, stored.bytes.data() + 2 * i, 2);
    rows.values.push_back(static_cast<float>(value / scale));
  }
  const BirchModel model = FitBirch({.num_clusters = about["n_clusters"],
                                     .threshold = about["threshold"],
                                     .branching_factor = about["branching_factor"]},
                                    rows.view());
  EXPECT_EQ(model.center_rows().rows, about["subclusters"].get<int64_t>());
  const TensorView& labels = Golden().Get(name + ".labels");
  std::vector<int32_t> expected(labels.shape[0]);
  std::memcpy(expected.data(), labels.bytes.data(), labels.bytes.size());
  const std::vector<int64_t> actual = PredictBirch(model, rows.view());
  EXPECT_EQ(actual, std::vector<int64_t>(expected.begin(), expected.end()));
}

INSTANTIATE_TEST_SUITE_P(All, BirchGoldenTest,
                         testing::Values("blobs", "many_splits", "anisotropic", "unit_rows", "features",
                                         "grid_with_ties"),
                         [](const auto& info) { return std::string(info.param); });

TEST(BirchTest, AutomaticThresholdKeepsTheLeafBudget) {
  const TestRows rows = UnitMixture(3000, 24, 5, 0.5, 3);
  const BirchModel model = FitBirch({.num_clusters = 5, .max_leaves = 100}, rows.view());
  EXPECT_LE(model.center_rows().rows, 100);
  EXPECT_GE(model.center_rows().rows, 20) << "the threshold grew far more than it had to";
  EXPECT_GT(model.threshold, 0);
  int64_t total = 0;
  for (int64_t size : model.center_sizes) total += size;
  EXPECT_EQ(total, 3000);
  std::vector<int64_t> truth;
  for (int64_t i = 0; i < 3000; ++i) truth.push_back(i % 5);
  EXPECT_TRUE(SamePartition(PredictBirch(model, rows.view()), truth));
}

TEST(BirchTest, AutomaticThresholdStaysZeroWhenRowsFit) {
  const TestRows rows = UnitMixture(60, 8, 3, 0.3, 4);
  EXPECT_EQ(FitBirch({.num_clusters = 3}, rows.view()).threshold, 0);
}

TEST(BirchTest, EqualForAnyNumberOfThreads) {
  const TestRows rows = UnitMixture(700, 300, 6, 1.5, 5);
  const BirchOptions options{.num_clusters = 4, .max_leaves = 60};
  omp_set_num_threads(1);
  const BirchModel one = FitBirch(options, rows.view());
  const std::vector<int64_t> labels = PredictBirch(one, rows.view());
  omp_set_num_threads(5);
  const BirchModel five = FitBirch(options, rows.view());
  EXPECT_EQ(one.centers, five.centers);
  EXPECT_EQ(one.center_labels, five.center_labels);
  EXPECT_EQ(labels, PredictBirch(five, rows.view()));
}

TEST(BirchTest, EqualRowsAreOneCluster) {
  const TestRows rows{std::vector<float>(40 * 6, 0.25f), 6};
  for (double threshold : {0.0, 0.5}) {
    const BirchModel model =
        FitBirch({.num_clusters = 3, .threshold = threshold, .max_leaves = 10}, rows.view());
    EXPECT_EQ(PredictBirch(model, rows.view()),
              std::vector<int64_t>(40, PredictBirch(model, rows.view())[0]));
  }
}

TEST(BirchTest, FewerSubclustersThanClustersAreEachACluster) {
  const TestRows rows{{5, 5, 0, 0, 9, 9, 0, 0, 5, 5, 9, 9}, 2};
  const BirchModel model = FitBirch({.num_clusters = 5, .threshold = 0.1}, rows.view());
  EXPECT_EQ(model.num_clusters, 3);
  EXPECT_EQ(model.center_labels, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(PredictBirch(model, rows.view()), (std::vector<int64_t>{0, 1, 2, 1, 0, 2}));
}

TEST(BirchTest, BadInputIsNamed) {
  TestRows rows = UnitMixture(10, 4, 2, 0.1, 1);
  const auto message = [&](const BirchOptions& options) -> std::string {
    try {
      FitBirch(options, rows.view());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
      return error.what();
    }
    return "no error";
  };
  EXPECT_NE(message({.num_clusters = 11}).find("10 rows cannot form 11 clusters"), std::string::npos);
  rows.values[7 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message({}).find("row 7 has NaN at column 2"), std::string::npos);
  rows.values[7 * 4 + 2] = std::numeric_limits<float>::infinity();
  EXPECT_NE(message({}).find("row 7 has an infinity"), std::string::npos);
  rows.values[7 * 4 + 2] = 1e20f;
  EXPECT_NE(message({}).find("row 7 has a squared norm over"), std::string::npos);
  rows.values.clear();
  EXPECT_NE(message({}).find("no rows"), std::string::npos);
}

TEST(BirchTest, PredictingRowsOfAnotherDimensionIsAnError) {
  const BirchModel model = FitBirch({.num_clusters = 2}, UnitMixture(10, 4, 2, 0.1, 1).view());
  EXPECT_THROW(PredictBirch(model, UnitMixture(10, 5, 2, 0.1, 1).view()), Error);
}

}  // namespace
}  // namespace elrea
