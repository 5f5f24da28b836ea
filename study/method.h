// A method of the study: adapters, a weighting rule and a mixing rule, as data. Adding one means one more
// entry in a file method_*.cc (or a new such file, named in methods.cc): everything else - training what is
// missing, answering, losses, statistics, the report - is shared.
#pragma once

#include <string>
#include <vector>

#include "study/study_options.h"
#include "study/workbench.h"

namespace elrea {

// How the adapters of a row become one next-token distribution.
enum class MixingRule {
  kLogits,         // sum of logits (method section 6)
  kProbabilities,  // sum of probabilities
  kLayers,         // MoE routing: h = W x + sum_c w_c delta W_c x in each layer
  kParameters,     // MoE merging: A and B are averaged before the pass
  kVotes           // self-consistency: samples of one adapter at temperature 1, majority of the answers
};

struct StudyPlan {
  std::vector<const StudyAdapter*> adapters;  // null: the backbone
  std::vector<std::vector<double>>
      weights;  // [rows][adapters]; zero: does not run. Shares of their sum count
  MixingRule mixing = MixingRule::kLogits;
  int64_t num_samples = 1;  // with kVotes
  bool routed =
      false;  // weights depend on the row: adapter 0 is the base, the others are the clusters' experts
};

struct StudyMethod {
  std::string name;
  std::string help;    // one line: adapters, weights, mixing
  std::string origin;  // "paper" or "control": the central comparison; "ablation" or "beyond"
  // Trains what is missing on the bench and says who answers. Must not depend on anything but the bench.
  StudyPlan (*plan)(Workbench& bench);
  // A length of features that the plan needs beside the configured one, so that all are made in one pass.
  int64_t projection_dim = 0;

  bool central() const { return IsCentral(origin); }
};

// All methods in the order of the report; names are unique.
const std::vector<StudyMethod>& StudyMethods();
// kInvalidInput naming the nearest method.
const StudyMethod& FindStudyMethod(const std::string& name);

// The same adapters with the same weights for every row.
StudyPlan EveryRow(const Workbench& bench, std::vector<const StudyAdapter*> adapters);

// Base and one expert per cluster, weighed by the routing of each held-out row (method sections 4 and 5).
StudyPlan RoutedPlan(Workbench& bench, const StudyFeatures& features, const Clustering& clustering,
                     const RoutingOptions& routing);

// The ensemble with something changed in the configuration's own options.
struct Variant {
  FeatureOptions features;
  ClusterOptions cluster;
  RoutingOptions routing;
  MixingRule mixing = MixingRule::kLogits;
};
StudyPlan PlanOf(Workbench& bench, const Variant& variant);

// As a method's plan: PlanOf after `Change(Variant&)`.
template <auto Change>
StudyPlan Changed(Workbench& bench) {
  Variant variant{bench.job().features, bench.job().cluster, bench.job().routing};
  Change(variant);
  return PlanOf(bench, variant);
}

// The families, one file each.
std::vector<StudyMethod> SingleAdapterMethods();
std::vector<StudyMethod> ExpertMethods();
std::vector<StudyMethod> GateMethods();
std::vector<StudyMethod> RankMethods();
std::vector<StudyMethod> FeatureMethods();
std::vector<StudyMethod> ClusteringMethods();

}  // namespace elrea
