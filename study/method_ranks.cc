// The whole chain - base, features, clusters, experts - with adapters of another rank. Compared with the base
// of that rank they tell whether larger adapters leave less for the ensemble to gain.
#include <fmt/format.h>

#include "study/method.h"

namespace elrea {
namespace {

template <int64_t Rank>
StudyPlan BaseOfRank(Workbench& bench) {
  return EveryRow(bench, {&bench.AtRank(Rank).Base()});
}

template <int64_t Rank>
StudyPlan EnsembleOfRank(Workbench& bench) {
  Workbench& other = bench.AtRank(Rank);
  const StudyJob& job = other.job();
  return PlanOf(other, {job.features, job.cluster, job.routing});
}

}  // namespace

std::vector<StudyMethod> RankMethods() {
  return {{"rank_64_base", "one adapter of rank 64 trained on all rows", "ablation", BaseOfRank<64>},
          {"rank_64", "the ensemble with adapters of rank 64 throughout", "ablation", EnsembleOfRank<64>}};
}

}  // namespace elrea
