// The ensemble with other clusterings: other numbers of clusters, K-means and principal components (the
// paper's ablations), and with a router that is trained on hidden states (beyond the paper).
#include <fmt/format.h>

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
  const int64_t sample =
      std::min<int64_t>(static_cast<int64_t>(job.train.rows.size()), job.cluster.sample_rows);
  return std::min<int64_t>({kComponents, job.features.projection_dim, sample - 1});
}

KMeansOptions OptionsOf(const Workbench& bench) {
  const ClusterOptions& options = bench.job().cluster;
  return {.num_clusters = options.birch.num_clusters, .seed = static_cast<uint64_t>(options.seed)};
}

Json AlgorithmOf(const KMeansOptions& kmeans) {
  return {{"kmeans", kmeans.num_clusters}, {"restarts", kmeans.restarts}, {"seed", kmeans.seed}};
}

const Clustering& KMeansClusters(Workbench& bench, const StudyFeatures& features) {
  const KMeansOptions kmeans = OptionsOf(bench);
  return bench.OtherClusters(features, AlgorithmOf(kmeans),
                             [&](RowMatrix train) { return KMeans(kmeans, train).labels; });
}

// As KMeansOnPca, but labels by the distances of features that keep their lengths. Centroids and routing are
// those of unit features, since a cosine knows no lengths.
StudyPlan KMeansUnnormalised(Workbench& bench) {
  FeatureOptions options = bench.job().features;
  const StudyFeatures& unit = PcaFeatures(bench, options, Components(bench));
  options.normalise = false;
  const FeatureStore& raw = *bench.Features(options).train;
  const KMeansOptions kmeans = OptionsOf(bench);
  Json algorithm = AlgorithmOf(kmeans);
  algorithm["labels_of"] = raw.spec().fingerprint;
  const Clustering& clustering = bench.OtherClusters(unit, algorithm, [&](RowMatrix) {
    const torch::Tensor rows = PcaRows(bench.job(), raw, Components(bench)).contiguous();
    return KMeans(kmeans, {rows.data_ptr<float>(), rows.size(0), rows.size(1)}).labels;
  });
  return RoutedPlan(bench, unit, clustering, bench.job().routing);
}

void Centered(Variant& v) { v.cluster.center = "mean"; }

template <int64_t Number>
void IntoClusters(Variant& v) {
  v.cluster.birch.num_clusters = Number;
  v.cluster.max_rounds = 0;
}

template <int64_t Number>
StudyMethod NumberMethod() {
  return {fmt::format("clusters_{}", Number), fmt::format("{} clusters, none divided again", Number),
          "ablation", Changed<IntoClusters<Number>>};
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
  const StudyFeatures& features = PcaFeatures(bench, bench.job().features, Components(bench));
  return RoutedPlan(bench, features, bench.Clusters(features, bench.job().cluster), bench.job().routing);
}

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
  return {
      {"kmeans", "K-means in place of BIRCH", "beyond", KMeansOnFeatures},
      {"birch_pca", "clusters and routing on up to 64 principal components of the features", "ablation",
       BirchOnPca},
      {"kmeans_pca", "the same with K-means", "ablation", KMeansOnPca},
      {"kmeans_unnormalised", "kmeans_pca on features that keep their lengths", "ablation",
       KMeansUnnormalised},
      {"centered", "clusters and routing after subtracting the mean feature", "ablation", Changed<Centered>},
      NumberMethod<2>(),
      NumberMethod<3>(),
      NumberMethod<4>(),
      NumberMethod<6>(),
      NumberMethod<8>(),
      NumberMethod<16>(),
      {"hidden_router", "the ensemble's experts, weighed by a classifier of hidden states", "beyond",
       HiddenRouter}};
}

}  // namespace elrea
