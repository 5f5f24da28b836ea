#include "ensemble/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace elrea {

namespace {

double Dot(std::span<const float> a, std::span<const float> b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

std::vector<double> Standardise(const std::vector<double>& cosines, std::span<const RoutingCluster> clusters,
                                const std::string& how) {
  auto n = static_cast<double>(cosines.size());
  double mean = std::accumulate(cosines.begin(), cosines.end(), 0.0) / n, variance = 0;
  for (double c : cosines) variance += (c - mean) * (c - mean) / n;
  std::vector<double> z;
  for (size_t c = 0; c < cosines.size(); ++c) {
    bool own = how == "per_cluster";
    double center = own ? clusters[c].cosine_mean : mean;
    double spread = own ? clusters[c].cosine_std : std::sqrt(variance);
    // One cluster, or equal cosines: nothing to tell apart, so no preference.
    z.push_back(spread > 1e-12 ? (cosines[c] - center) / spread : 0.0);
  }
  return z;
}

std::vector<double> Softmax(const std::vector<double>& z, double temperature) {
  double top = *std::max_element(z.begin(), z.end()), total = 0;
  std::vector<double> w;
  for (double x : z) total += w.emplace_back(std::exp((x - top) / temperature));
  for (double& x : w) x /= total;
  return w;
}

void KeepTop(std::vector<double>& weights, int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(weights.size())) return;
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return weights[a] > weights[b]; });
  double kept = 0;
  for (int64_t i = 0; i < k; ++i) kept += weights[order[i]];
  for (size_t i = k; i < order.size(); ++i) weights[order[i]] = 0;
  for (double& w : weights) w /= kept;
}

// Members too light to matter do not run; the others keep their weights. The heaviest always runs.
void DropLight(Routing& routing, double min_share) {
  const double total = routing.base_weight + std::accumulate(routing.weights.begin(), routing.weights.end(), 0.0);
  const double heaviest = std::max(routing.base_weight, *std::max_element(routing.weights.begin(), routing.weights.end()));
  const double least = std::min(min_share * total, heaviest);
  auto drop = [&](double& w) {
    if (w < least) w = 0;
  };
  drop(routing.base_weight);
  for (double& w : routing.weights) drop(w);
}

}  // namespace

Routing Route(std::span<const float> feature, std::span<const RoutingCluster> clusters, const RoutingOptions& options) {
  if (clusters.empty()) throw Error(ErrorKind::kInvalidInput, "routing needs at least one cluster");
  Routing routing;
  for (const RoutingCluster& cluster : clusters) {
    if (cluster.centroid.size() != feature.size()) {
      throw Error(ErrorKind::kInvalidInput, fmt::format("the feature has {} dimensions, the centroids {}: they come from different runs",
                                                        feature.size(), cluster.centroid.size()));
    }
    routing.cosines.push_back(Dot(feature, cluster.centroid));
    if (!std::isfinite(routing.cosines.back())) throw Error(ErrorKind::kInvalidInput, "the feature is not finite");
  }
  if (options.uniform) {
    routing.weights.assign(clusters.size(), 1.0 / static_cast<double>(clusters.size()));
  } else {
    routing.weights = Softmax(Standardise(routing.cosines, clusters, options.standardise), options.temperature);
  }
  KeepTop(routing.weights, options.top_k);
  if (options.use_base) {
    routing.base_weight = std::max(0.0, 1 - *std::max_element(routing.cosines.begin(), routing.cosines.end()));
  }
  DropLight(routing, options.min_weight);
  return routing;
}

}  // namespace elrea
