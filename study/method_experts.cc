// The ensemble of cluster experts and what is changed in it one piece at a time: the weights, the mixing, the
// rows of the experts.
#include <algorithm>

#include "core/rng.h"
#include "study/method.h"

namespace elrea {
namespace {

// Clusters of the ensemble's number and sizes with rows drawn at random, weighed alike (as in the paper,
// without the base: there is no centroid it could be weighed by).
StudyPlan RandomClusters(Workbench& bench) {
  const Clustering& clustering = bench.Clusters(bench.Features(bench.job().features), bench.job().cluster);
  const std::vector<int64_t> order =
      RandomPermutation(clustering.num_rows, static_cast<uint64_t>(bench.seed()), /*stream=*/77);
  std::vector<std::vector<int64_t>> groups;
  int64_t begin = 0;
  for (const FeatureCluster& cluster : clustering.clusters) {
    const auto size = static_cast<int64_t>(cluster.rows.size());
    groups.emplace_back(order.begin() + begin, order.begin() + begin + size);
    std::sort(groups.back().begin(), groups.back().end());
    begin += size;
  }
  StudyPlan plan;
  plan.adapters = bench.Experts(groups);
  plan.weights.assign(bench.job().test.size(), std::vector<double>(groups.size(), 1.0));
  return plan;
}

void Nothing(Variant&) {}
void Uniform(Variant& v) { v.routing.uniform = true; }
void Top1(Variant& v) { v.routing.top_k = 1; }
void Top2(Variant& v) { v.routing.top_k = 2; }
void Top4(Variant& v) { v.routing.top_k = 4; }
void NoBase(Variant& v) { v.routing.use_base = false; }
void Probabilities(Variant& v) { v.mixing = MixingRule::kProbabilities; }
void Layers(Variant& v) { v.mixing = MixingRule::kLayers; }
void Parameters(Variant& v) { v.mixing = MixingRule::kParameters; }
void Sharp(Variant& v) { v.routing.temperature /= 4; }
void TemperatureOne(Variant& v) { v.routing.temperature = 1; }

}  // namespace

StudyPlan RoutedPlan(Workbench& bench, const StudyFeatures& features, const Clustering& clustering,
                     const RoutingOptions& routing) {
  StudyPlan plan;
  plan.routed = true;
  plan.adapters = {&bench.Base()};
  for (const StudyAdapter* expert : bench.Experts(RowGroups(clustering))) plan.adapters.push_back(expert);
  for (const Routing& routed : bench.RouteRows(features, clustering, routing)) {
    std::vector<double>& weights = plan.weights.emplace_back(1, routed.base_weight);
    weights.insert(weights.end(), routed.weights.begin(), routed.weights.end());
  }
  return plan;
}

StudyPlan PlanOf(Workbench& bench, const Variant& variant) {
  const StudyFeatures& features = bench.Features(variant.features);
  StudyPlan plan = RoutedPlan(bench, features, bench.Clusters(features, variant.cluster), variant.routing);
  plan.mixing = variant.mixing;
  return plan;
}

std::vector<StudyMethod> ExpertMethods() {
  return {
      {"ensemble", "base and cluster experts, logits weighed by the request's gradient", "paper",
       Changed<Nothing>},
      {"uniform_weights", "the ensemble's experts, all weighed alike", "paper", Changed<Uniform>},
      {"random_clusters", "as many experts on rows drawn at random, weighed alike", "paper", RandomClusters},
      {"moe_routing", "the ensemble's weights, adapters mixed in each layer", "paper", Changed<Layers>},
      {"moe_merging", "the ensemble's weights, adapters' matrices averaged", "paper", Changed<Parameters>},
      {"top_1", "the heaviest expert alone, beside the base", "ablation", Changed<Top1>},
      {"top_2", "the two heaviest experts, beside the base", "ablation", Changed<Top2>},
      {"top_4", "the four heaviest experts, beside the base", "ablation", Changed<Top4>},
      {"no_base", "the ensemble without the base adapter", "ablation", Changed<NoBase>},
      {"probabilities", "the ensemble, probabilities averaged in place of logits", "ablation",
       Changed<Probabilities>},
      {"temperature_1", "the ensemble at routing temperature 1, the paper's", "ablation", Changed<TemperatureOne>},
      {"sharp", "the ensemble at a quarter of the routing temperature", "ablation", Changed<Sharp>},
  };
}

}  // namespace elrea
