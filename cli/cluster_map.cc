#include "cli/cluster_map.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/rng.h"
#include "core/text.h"

namespace elrea {
namespace {

constexpr int64_t kMaxPoints = 600, kMaxCompared = 1000, kExamples = 5;
constexpr size_t kMaxTextBytes = 200;

std::string Shortened(const std::string& text) {
  std::string cut = text.substr(0, kMaxTextBytes);
  cut.resize(CompleteUtf8Prefix(cut));
  return cut;
}

std::vector<float> ComparedFeature(const RowIndex& rows, const Clustering& clustering, int64_t row) {
  const std::span<const float> stored = rows.features().row(row);
  std::vector<float> feature(stored.begin(), stored.end());
  CenterAndNormalize(feature, clustering.mean);
  return feature;
}

Json Examples(const RowIndex& rows, const Clustering& clustering, const FeatureCluster& cluster) {
  std::vector<std::pair<double, int64_t>> nearest;  // cosine, row
  const auto count = static_cast<int64_t>(cluster.rows.size());
  for (const int64_t i : RandomSample(count, std::min(count, kMaxCompared), 1)) {
    const int64_t row = cluster.rows[static_cast<size_t>(i)];
    const std::vector<float> feature = ComparedFeature(rows, clustering, row);
    double cosine = 0;
    for (size_t d = 0; d < feature.size(); ++d) cosine += static_cast<double>(feature[d]) * cluster.centroid[d];
    nearest.emplace_back(-cosine, row);
  }
  std::sort(nearest.begin(), nearest.end());
  Json examples = Json::array();
  for (size_t i = 0; i < std::min(nearest.size(), static_cast<size_t>(kExamples)); ++i) {
    const int64_t row = nearest[i].second;
    examples.push_back({{"row", row}, {"source", rows.source(row)}, {"instruction", Shortened(rows.instruction(row))}});
  }
  return examples;
}

// Principal components by way of the Gram matrix: there are far fewer points than dimensions.
Json Points(const RowIndex& rows, const Clustering& clustering, double& explained) {
  std::vector<int64_t> cluster_of(static_cast<size_t>(clustering.num_rows), -1);
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    for (const int64_t row : clustering.clusters[c].rows) cluster_of[static_cast<size_t>(row)] = static_cast<int64_t>(c);
  }
  const std::vector<int64_t> sample =
      RandomSample(clustering.num_rows, std::min(clustering.num_rows, kMaxPoints), 2);
  const auto n = static_cast<int64_t>(sample.size());
  torch::Tensor features = torch::empty({n, clustering.dim}, torch::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    const std::vector<float> feature = ComparedFeature(rows, clustering, sample[static_cast<size_t>(i)]);
    std::copy(feature.begin(), feature.end(), features.data_ptr<float>() + i * clustering.dim);
  }
  features -= features.mean(0, /*keepdim=*/true);
  const auto [values, vectors] = torch::linalg_eigh(features.matmul(features.t()).to(torch::kDouble), "L");
  explained = n > 1 ? ((values[n - 1] + values[n - 2]) / values.sum().clamp_min(1e-30)).item<double>() : 0;
  Json points = Json::array();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = sample[static_cast<size_t>(i)];
    const auto coordinate = [&](int64_t component) {
      return n < 2 ? 0 : (vectors[i][component] * values[component].clamp_min(0).sqrt()).item<double>();
    };
    points.push_back({{"row", row},
                      {"x", coordinate(n - 1)},
                      {"y", coordinate(std::max<int64_t>(n - 2, 0))},
                      {"cluster", cluster_of[static_cast<size_t>(row)]},
                      {"source", rows.source(row)},
                      {"instruction", Shortened(rows.instruction(row))}});
  }
  return points;
}

}  // namespace

Json ClusterMap(const RowIndex& rows, const Clustering& clustering) {
  Json clusters = Json::array();
  for (size_t c = 0; c < clustering.clusters.size(); ++c) {
    const FeatureCluster& cluster = clustering.clusters[c];
    clusters.push_back({{"cluster", c},
                        {"rows", cluster.rows.size()},
                        {"sources", cluster.sources},
                        {"mean_cosine", cluster.mean_cosine},
                        {"examples", Examples(rows, clustering, cluster)}});
  }
  double explained = 0;
  Json points = Points(rows, clustering, explained);
  return {{"clusters", std::move(clusters)}, {"points", std::move(points)}, {"explained", explained}};
}

}  // namespace elrea
