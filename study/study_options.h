// What a study compares and how often (configuration section `study`).
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace elrea {

struct StudyOptions {
  std::vector<std::string> methods = {};
  std::vector<int64_t> seeds = {0, 1, 2};
  int64_t answer_limit = 0;
  int64_t permutation_samples = 10000;
  int64_t self_consistency_samples = 5;
  int64_t lora_ensemble_adapters = 3;
};
template <typename Visitor>
void VisitOptions(StudyOptions& o, Visitor& v) {
  v.Field("methods", o.methods, "who is compared (elrea study --list); empty: all");
  v.Field("seeds", o.seeds, "everything that is trained is trained once for each; three or more for a claim");
  v.Field("answer_limit", o.answer_limit,
          "rows that are answered, spread evenly over the held-out rows; the response loss is measured on "
          "all. 0 = all",
          AtLeast(0));
  v.Field("permutation_samples", o.permutation_samples, "random exchanges behind a p-value", AtLeast(1));
  v.Field("self_consistency_samples", o.self_consistency_samples, "texts drawn per row at temperature 1",
          AtLeast(1));
  v.Field("lora_ensemble_adapters", o.lora_ensemble_adapters, "adapters beside the base, trained on all rows",
          AtLeast(1));
}

}  // namespace elrea
