#include "ensemble/ensemble.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace elrea {

Ensemble::Ensemble(const Decoder& decoder, ExpertBank bank, RouterParts router)
    : decoder_(decoder), bank_(std::move(bank)), router_(std::move(router)) {
  const auto num_clusters = static_cast<int64_t>(router_.clustering.clusters.size());
  if (num_clusters == bank_.num_experts()) return;
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("there are {} clusters and {} experts; run `elrea experts` again", num_clusters,
                          bank_.num_experts()));
}

std::vector<std::vector<float>> Ensemble::Features(const std::vector<std::span<const int32_t>>& instructions,
                                                   PrefixCache* read) {
  const int64_t context = decoder_.config().context_length;
  for (size_t i = 0; i < instructions.size(); ++i) {
    if (static_cast<int64_t>(instructions[i].size()) <= context) continue;
    throw Error(ErrorKind::kInvalidInput,
                fmt::format("request {}: the prompt has {} tokens; the model's context is {}; shorten it",
                            i + 1, instructions[i].size(), context));
  }
  std::vector<KvCache> caches;
  std::vector<KvCache*> filled;
  for (size_t i = 0; i < instructions.size() && read != nullptr; ++i) {
    caches.emplace_back(decoder_.config(), decoder_.dtype(), decoder_.device(), std::ssize(instructions[i]));
  }
  for (KvCache& cache : caches) filled.push_back(&cache);
  std::vector<float> extracted = router_.extractor->Extract(instructions, filled);  // [prompts, feat]
  for (size_t i = 0; i < caches.size(); ++i) read->Store(bank_.base(), instructions[i], caches[i]);
  const auto dim = static_cast<size_t>(router_.extractor->projection_dim());
  std::vector<std::vector<float>> features;
  for (size_t i = 0; i < instructions.size(); ++i) {
    const std::span<float> feature = std::span(extracted).subspan(i * dim, dim);
    CenterAndNormalize(feature, router_.clustering.mean);
    features.emplace_back(feature.begin(), feature.end());
  }
  return features;
}

Routing Ensemble::RouteFeature(std::span<const float> feature, const RoutingOptions& options) const {
  std::vector<RoutingCluster> clusters;
  for (const FeatureCluster& c : router_.clustering.clusters) {
    clusters.push_back({c.centroid, c.mean_cosine, c.std_cosine});
  }
  return Route(feature, clusters, options);
}

std::vector<Routing> Ensemble::RouteBatch(const std::vector<std::span<const int32_t>>& instructions,
                                          std::vector<std::vector<float>>* features, PrefixCache* read) {
  std::vector<std::vector<float>> extracted = Features(instructions, read);
  std::vector<Routing> routings;
  for (const auto& feature : extracted) routings.push_back(RouteFeature(feature, router_.options));
  if (features != nullptr) *features = std::move(extracted);
  return routings;
}

std::vector<Neighbour> NearestRows(RowMatrix rows, std::span<const float> mean,
                                   std::span<const float> feature, int64_t count) {
  std::vector<Neighbour> neighbours;
  std::vector<float> row(feature.size());
  for (int64_t i = 0; i < rows.rows; ++i) {
    std::copy(rows.row(i).begin(), rows.row(i).end(), row.begin());
    CenterAndNormalize(row, mean);
    double cosine = 0;
    for (size_t d = 0; d < row.size(); ++d) cosine += static_cast<double>(row[d]) * feature[d];
    neighbours.push_back({i, cosine});
  }
  const auto nearer = [](const Neighbour& a, const Neighbour& b) {
    return a.cosine != b.cosine ? a.cosine > b.cosine : a.row < b.row;
  };
  const auto kept = std::min<int64_t>(count, static_cast<int64_t>(neighbours.size()));
  std::partial_sort(neighbours.begin(), neighbours.begin() + kept, neighbours.end(), nearer);
  neighbours.resize(static_cast<size_t>(kept));
  return neighbours;
}

}  // namespace elrea
