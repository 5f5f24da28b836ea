// The ensemble with other clusterings or other features: K-means and principal components (the paper's
// ablations), and hidden states in place of gradients, as features or for a trained router (beyond the
// paper).
#include <ATen/ATen.h>

#include <algorithm>

#include "study/kmeans.h"
#include "study/method.h"
#include "study/other_features.h"
#include "study/router.h"

namespace elrea {
namespace {

constexpr int64_t kComponents = 64;

// As many as the sample that the components are found on allows.
int64_t Components(const Workbench& bench) {
  const StudyJob& job = bench.job();
  const int64_t sample = std::min<int64_t>(static_cast<int64_t>(job.train.rows.size()), job.cluster.sample_rows);
  return std::min<int64_t>({kComponents, job.features.projection_dim, sample - 1});
}

const Clustering& KMeansClusters(Workbench& bench, const StudyFeatures& features) {
  const ClusterOptions& options = bench.job().cluster;
  const KMeansOptions kmeans{.num_clusters = options.birch.num_clusters,
                             .seed = static_cast<uint64_t>(options.seed)};
  return bench.OtherClusters(
      features, {{"kmeans", kmeans.num_clusters}, {"restarts", kmeans.restarts}, {"seed", kmeans.seed}},
      [&](RowMatrix train) { return KMeans(kmeans, train).labels; });
}

StudyPlan Birch(Workbench& bench, const StudyFeatures& features) {
  return RoutedPlan(bench, features, bench.Clusters(features, bench.job().cluster), bench.job().routing);
}

StudyPlan KMeansOnFeatures(Workbench& bench) {
  const StudyFeatures& features = bench.Features(bench.job().features);
  return RoutedPlan(bench, features, KMeansClusters(bench, features), bench.job().routing);
}

StudyPlan KMeansOnPca(Workbench& bench) {
  const StudyFeatures& features = PcaFeatures(bench, bench.job().features, Components(bench));
  return RoutedPlan(bench, features, KMeansClusters(bench, features), bench.job().routing);
}

StudyPlan BirchOnPca(Workbench& bench) {
  return Birch(bench, PcaFeatures(bench, bench.job().features, Components(bench)));
}

StudyPlan HiddenStates(Workbench& bench) { return Birch(bench, HiddenStateFeatures(bench)); }

// The ensemble's clusters and experts; weights are the probabilities of a softmax regression from hidden
// states to clusters, and the base weighs 1 - the largest.
StudyPlan HiddenRouter(Workbench& bench) {
  const StudyFeatures& gradients = bench.Features(bench.job().features);
  const Clustering& clustering = bench.Clusters(gradients, bench.job().cluster);
  StudyPlan plan = RoutedPlan(bench, gradients, clustering, bench.job().routing);
  const StudyFeatures& states = HiddenStateFeatures(bench);
  const SoftmaxRouter router = TrainRouter(*states.train, clustering);
  for (int64_t row = 0; row < states.test->num_rows(); ++row) {
    std::vector<double>& weights = plan.weights[static_cast<size_t>(row)];
    const std::vector<double> probabilities = router.Probabilities(states.test->row(row));
    weights.assign(1, 1 - *std::max_element(probabilities.begin(), probabilities.end()));
    weights.insert(weights.end(), probabilities.begin(), probabilities.end());
  }
  return plan;
}

}  // namespace

std::vector<StudyMethod> ClusteringMethods() {
  return {{"kmeans", "K-means in place of BIRCH", "beyond", KMeansOnFeatures},
          {"birch_pca", "clusters and routing on up to 64 principal components of the features", "ablation",
           BirchOnPca},
          {"kmeans_pca", "the same with K-means", "ablation", KMeansOnPca},
          {"hidden_states", "mean hidden states of the instruction in place of gradients", "beyond",
           HiddenStates},
          {"hidden_router", "the ensemble's experts, weighed by a classifier of hidden states", "beyond",
           HiddenRouter}};
}

}  // namespace elrea
