// A router that is trained: softmax regression from unit features to clusters.
#pragma once

#include <torch/types.h>

#include <span>
#include <vector>

#include "cluster/cluster_features.h"
#include "features/feature_store.h"

namespace elrea {

struct SoftmaxRouter {
  torch::Tensor weight;  // [clusters, feat] f32
  torch::Tensor bias;    // [clusters] f32
  // [clusters], sum 1. feature [feat].
  std::vector<double> Probabilities(std::span<const float> feature) const;
};

// Minimises the mean cross-entropy to the rows' clusters plus 1e-3 |W|^2, by 500 full-batch steps of Adam
// from zero: a function of its arguments only.
SoftmaxRouter TrainRouter(const FeatureStore& rows, const Clustering& clustering);

}  // namespace elrea
