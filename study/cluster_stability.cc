#include "study/cluster_stability.h"

#include <algorithm>
#include <map>

#include "cluster/vector_math.h"
#include "core/rng.h"

namespace elrea {
namespace {

double Pairs(int64_t n) { return static_cast<double>(n) * static_cast<double>(n - 1) / 2; }

std::vector<int64_t> NearestClusters(RowMatrix features, const Clustering& clustering) {
  std::vector<int64_t> labels;
  std::vector<float> row(static_cast<size_t>(features.dim));
  for (int64_t i = 0; i < features.rows; ++i) {
    std::copy(features.row(i).begin(), features.row(i).end(), row.begin());
    CenterAndNormalize(row, clustering.mean);
    int64_t best = 0;
    double top = -2;
    for (size_t c = 0; c < clustering.clusters.size(); ++c) {
      const double cosine = Dot(row.data(), clustering.clusters[c].centroid.data(), features.dim);
      if (cosine > top) {
        top = cosine;
        best = static_cast<int64_t>(c);
      }
    }
    labels.push_back(best);
  }
  return labels;
}

}  // namespace

double AdjustedRandIndex(const std::vector<int64_t>& a, const std::vector<int64_t>& b) {
  std::map<std::pair<int64_t, int64_t>, int64_t> both;
  std::map<int64_t, int64_t> in_a, in_b;
  for (size_t i = 0; i < a.size(); ++i) {
    ++both[{a[i], b[i]}];
    ++in_a[a[i]];
    ++in_b[b[i]];
  }
  double index = 0, sum_a = 0, sum_b = 0;
  for (const auto& [labels, count] : both) index += Pairs(count);
  for (const auto& [label, count] : in_a) sum_a += Pairs(count);
  for (const auto& [label, count] : in_b) sum_b += Pairs(count);
  const double expected = a.size() < 2 ? 0 : sum_a * sum_b / Pairs(static_cast<int64_t>(a.size()));
  const double largest = (sum_a + sum_b) / 2;
  return largest == expected ? 1 : (index - expected) / (largest - expected);
}

std::vector<int64_t> RowLabels(const Clustering& clustering) {
  std::vector<int64_t> labels(static_cast<size_t>(clustering.num_rows));
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    for (int64_t row : clustering.clusters[c].rows)
      labels[static_cast<size_t>(row)] = static_cast<int64_t>(c);
  }
  return labels;
}

Stability MeasureStability(const ClusterOptions& options, RowMatrix features, const Clustering& clustering,
                           int64_t bootstraps, uint64_t seed) {
  Stability stability;
  const std::vector<int64_t> labels = RowLabels(clustering);
  const auto dim = static_cast<size_t>(features.dim);
  std::vector<float> sample(static_cast<size_t>(features.rows) * dim);
  for (int64_t b = 0; b < bootstraps; ++b) {
    Rng rng(seed, static_cast<uint64_t>(b));
    for (int64_t i = 0; i < features.rows; ++i) {
      const auto row = features.row(static_cast<int64_t>(rng.Below(static_cast<uint64_t>(features.rows))));
      std::copy(row.begin(), row.end(), sample.begin() + i * static_cast<int64_t>(dim));
    }
    const Clustering again = ClusterFeatures(options, {sample.data(), features.rows, features.dim}, {});
    stability.indices.push_back(AdjustedRandIndex(labels, NearestClusters(features, again)));
    stability.mean += stability.indices.back() / static_cast<double>(bootstraps);
  }
  if (!stability.indices.empty()) {
    const auto [low, high] = std::minmax_element(stability.indices.begin(), stability.indices.end());
    stability.range = {*low, *high};
  }
  return stability;
}

}  // namespace elrea
