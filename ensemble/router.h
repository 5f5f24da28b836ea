// From a request's feature to the weights of the base and the experts (method section 5).
//
//   cos_c = f . mu_c,  z_c = (cos_c - mean) / std,  w_c = softmax(z / tau)_c,  w_base = 1 - max_c cos_c
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"

namespace elrea {

struct RoutingOptions {
  double temperature = 1;
  std::string standardise = "across_clusters";
  bool use_base = true;
  bool uniform = false;
  int64_t top_k = 0;
  double min_weight = 0.01;
};
template <typename Visitor>
void VisitOptions(RoutingOptions& o, Visitor& v) {
  v.Field("temperature", o.temperature, "of the softmax over clusters; lower is sharper, and fewer experts run: 0.25 is better where requests are like the "
          "training rows, worse where they are not", Above(0));
  v.Field("standardise", o.standardise, "cosines are standardised across the clusters (the paper's), or each by its own training rows",
          OneOf({"across_clusters", "per_cluster"}));
  v.Field("use_base", o.use_base, "let the base adapter take part with weight 1 - max cosine");
  v.Field("uniform", o.uniform, "every expert weighs the same (a baseline)");
  v.Field("top_k", o.top_k, "keep only the k heaviest experts, rescaled to the same sum; 0 = all", AtLeast(0));
  v.Field("min_weight", o.min_weight, "members under this share of the total weight are left out of decoding, except for the heaviest", FromUpTo(0, 1));
}

// What routing knows of one cluster.
struct RoutingCluster {
  std::span<const float> centroid;  // [feat] unit
  double cosine_mean = 0, cosine_std = 1;  // of the training rows to the centroid; used by per_cluster
};

struct Routing {
  double base_weight = 0;
  std::vector<double> weights;  // [clusters], sum 1 before top-k and thresholds drop members
  std::vector<double> cosines;  // [clusters]
};

// kInvalidInput when there are no clusters or the feature has another length or is not finite.
Routing Route(std::span<const float> feature, std::span<const RoutingCluster> clusters, const RoutingOptions& options);

}  // namespace elrea
