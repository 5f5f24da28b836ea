// Methods without clusters: the backbone, adapters trained on everything or on one data set, and their
// ensembles.
#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "study/method.h"

namespace elrea {
namespace {

StudyPlan Backbone(Workbench& bench) { return EveryRow(bench, {nullptr}); }
StudyPlan Base(Workbench& bench) { return EveryRow(bench, {&bench.Base()}); }

// A row is answered by the adapter of its own data set; rows of a source without training rows by the base.
StudyPlan PerDataset(Workbench& bench) {
  const StudyJob& job = bench.job();
  std::vector<Workbench::LabelledRows> groups;
  for (const std::string& source : job.train.sources) groups.push_back({"data set " + source, {}});
  for (size_t i = 0; i < job.train.rows.size(); ++i) {
    groups[static_cast<size_t>(job.train.rows[i].source_id)].rows.push_back(static_cast<int64_t>(i));
  }
  StudyPlan plan;
  plan.adapters = bench.FromScratch(groups);
  plan.adapters.insert(plan.adapters.begin(), &bench.Base());
  for (const EvalRow& row : job.test) {
    const auto found = std::find(job.train.sources.begin(), job.train.sources.end(), row.source);
    std::vector<double>& weights = plan.weights.emplace_back(plan.adapters.size(), 0.0);
    weights[found == job.train.sources.end() ? 0
                                             : static_cast<size_t>(found - job.train.sources.begin()) + 1] =
        1;
  }
  return plan;
}

StudyPlan LoraEnsemble(Workbench& bench) {
  std::vector<int64_t> numbers(static_cast<size_t>(bench.job().study.lora_ensemble_adapters + 1));
  std::iota(numbers.begin(), numbers.end(), 0);
  return EveryRow(bench, bench.Bases(numbers));
}

// What the experts are, but for the division: the base trained on under their options, on all rows. What an ensemble of
// experts gains over it is not more training.
StudyPlan ContinuedBase(Workbench& bench) {
  std::vector<int64_t> all(bench.job().train.rows.size());
  std::iota(all.begin(), all.end(), 0);
  return EveryRow(bench, bench.Experts({all}));
}

StudyPlan SelfConsistency(Workbench& bench) {
  StudyPlan plan = EveryRow(bench, {&bench.Base()});
  plan.mixing = MixingRule::kVotes;
  plan.num_samples = bench.job().study.self_consistency_samples;
  return plan;
}

}  // namespace

StudyPlan EveryRow(const Workbench& bench, std::vector<const StudyAdapter*> adapters) {
  StudyPlan plan;
  plan.weights.assign(bench.job().test.size(), std::vector<double>(adapters.size(), 1.0));
  plan.adapters = std::move(adapters);
  return plan;
}

std::vector<StudyMethod> SingleAdapterMethods() {
  return {{"backbone", "the model without any adapter", "paper", Backbone},
          {"base", "one adapter trained on all rows", "paper", Base},
          {"continued_base", "the base trained on as an expert is, on all rows: as much training, no division",
           "control", ContinuedBase},
          {"per_dataset", "one adapter per data set, applied to its own rows", "paper", PerDataset},
          {"lora_ensemble", "base and more adapters of other seeds on all rows, logits averaged", "paper",
           LoraEnsemble},
          {"self_consistency", "majority of texts drawn from the base at temperature 1", "paper",
           SelfConsistency}};
}

}  // namespace elrea
