// The training rows of a run beside a prompt: which are nearest to it, and what they say.
#pragma once

#include <string>
#include <vector>

#include "cli/run_paths.h"
#include "core/json.h"
#include "data/row_texts.h"
#include "ensemble/ensemble.h"
#include "features/feature_store.h"

namespace elrea {

// Const-shareable. `clustering` must outlive it.
class RowIndex {
 public:
  // kNotFound when the run has no features; kCorrupt when rows, features and clusters do not belong together.
  RowIndex(const RunPaths& paths, const Clustering& clustering);

  // [{"row", "cosine", "cluster", "source", "instruction"}], nearest first. `feature` as Ensemble::Features gives it.
  Json Nearest(std::span<const float> feature, int64_t count) const;

  std::string source(int64_t row) const { return texts_.Record(row).source; }
  std::string instruction(int64_t row) const { return texts_.Record(row).prompt.back().content; }
  const FeatureStore& features() const { return store_; }

 private:
  FeatureStore store_;
  RowTexts texts_;
  const Clustering& clustering_;
  std::vector<int64_t> cluster_of_;  // [rows]
};

}  // namespace elrea
