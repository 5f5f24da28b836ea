// What a study compares and how often (configuration section `study`).
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace elrea {

struct StudyOptions {
  std::vector<std::string> methods = {};
  std::vector<int64_t> seeds = {0, 1, 2}, ablation_seeds = {};
  int64_t answer_limit = 0;
  std::string ablation_answer_limit = "same";
  int64_t permutation_samples = 10000;
  int64_t self_consistency_samples = 5;
  int64_t lora_ensemble_adapters = 3;
  std::string sentence_encoder = "minilm";
  double gate_learning_rate = 1e-2;
  double rank_learning_rate_factor = 1;
  bool report = true;
};
template <typename Visitor>
void VisitOptions(StudyOptions& o, Visitor& v) {
  v.Field("methods", o.methods, "who is compared (elrea study --list); empty: all");
  v.Field("seeds", o.seeds, "everything that is trained is trained once for each; three or more for a claim");
  v.Field("ablation_seeds", o.ablation_seeds,
          "those of seeds that ablations and methods beyond the paper run under; empty: all");
  v.Field("answer_limit", o.answer_limit,
          "rows that are answered, spread evenly over the held-out rows; the response loss is measured on "
          "all. 0 = all",
          AtLeast(0));
  v.Field("ablation_answer_limit", o.ablation_answer_limit,
          "the same for ablations and methods beyond the paper, spread over the rows of answer_limit: a "
          "number, `same`, or `none`: they are compared by response loss alone");
  v.Field("permutation_samples", o.permutation_samples, "random exchanges behind a p-value", AtLeast(1));
  v.Field("self_consistency_samples", o.self_consistency_samples, "texts drawn per row at temperature 1",
          AtLeast(1));
  v.Field("lora_ensemble_adapters", o.lora_ensemble_adapters, "adapters beside the base, trained on all rows",
          AtLeast(1));
  v.Field("sentence_encoder", o.sentence_encoder,
          "of the instruction embeddings: a directory or a fetched name (elrea model fetch minilm)");
  v.Field("report", o.report,
          "also write report.html; its stability of clusters takes 20 clusterings, minutes where rows are many");
  v.Field("gate_learning_rate", o.gate_learning_rate, "of MoLE's gates; all else as section finetune has it", Above(0));
  v.Field("rank_learning_rate_factor", o.rank_learning_rate_factor,
          "by which rank_64 and its base multiply both learning rates; larger ranks often want less", Above(0));
}

// Checks what ranges cannot. kInvalidInput: no seeds, ablation_seeds that are not among them (there would be
// no base to compare with), an ablation_answer_limit that is none of what it may be.
void CheckStudyOptions(const StudyOptions& options);

// Whether a method belongs to the central comparison: the paper's own, and controls without which a gain says little.
// They run under all seeds and answer the same rows; "ablation" and "beyond" may be given fewer.
inline bool IsCentral(const std::string& origin) { return origin == "paper" || origin == "control"; }

// Seeds of a central method (IsCentral) or of another.
const std::vector<int64_t>& StudySeeds(const StudyOptions& options, bool central);

// Of `num_rows` held-out rows, ascending, those that are answered; other methods answer some of those that
// central ones answer. REQUIRES: CheckStudyOptions.
std::vector<int64_t> StudyAnsweredRows(const StudyOptions& options, bool central, int64_t num_rows);

}  // namespace elrea
