#include "study/other_features.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/temp_dir.h"
#include "study/router.h"

namespace elrea {
namespace {

using torch::Tensor;

// The singular vectors of the rows are the twin, up to sign.
TEST(PrincipalComponents, AreTheLeadingSingularVectors) {
  at::manual_seed(3);
  Tensor rows = torch::randn({30, 12}) * torch::arange(1, 13);
  rows = rows - rows.mean(0, true);
  const Tensor basis = PrincipalComponents(rows, 4);
  const auto [u, s, vh] = at::linalg_svd(rows, false);
  const Tensor agreement = (basis * vh.narrow(0, 0, 4)).sum(1).abs();
  EXPECT_GT(agreement.min().item<float>(), 0.9999);
}

TEST(SoftmaxRouter, LearnsTheClusters) {
  const TempDir folder;
  std::vector<float> values;
  Clustering clustering;
  clustering.num_rows = 60;
  clustering.clusters.resize(3);
  for (int64_t i = 0; i < 60; ++i) {
    for (int64_t d = 0; d < 3; ++d) values.push_back(d == i % 3 ? 1.0f : 0.0f);
    clustering.clusters[static_cast<size_t>(i % 3)].rows.push_back(i);
  }
  FeatureStoreWriter writer(folder / "rows", {60, 3, "f", "r"});
  writer.Append(values);
  writer.Finish();
  const SoftmaxRouter router = TrainRouter(FeatureStore(folder / "rows"), clustering);
  for (size_t c = 0; c < 3; ++c) {
    std::vector<float> feature(3, 0.0f);
    feature[c] = 1;
    const std::vector<double> p = router.Probabilities(feature);
    EXPECT_GT(p[c], 0.8);
    EXPECT_NEAR(p[0] + p[1] + p[2], 1.0, 1e-6);
  }
}

}  // namespace
}  // namespace elrea
