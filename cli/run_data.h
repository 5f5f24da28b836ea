// The data stage of a run: the usable rows of all files are copied into the run, so that later stages, and
// later days, see the same rows whatever becomes of the files; the ledger of all rows' fates is kept beside
// them.
#pragma once

#include "cli/run.h"
#include "data/dataset.h"
#include "eval/eval_rows.h"

namespace elrea {

struct RunData {
  Dataset train;
  Dataset validation;  // without rows when the run has none
};

// Makes data/ unless it is complete, then loads training and validation rows from it. The ledger goes to
// stderr when it is made. Errors as of LoadDataset; kCorrupt when a file in data/ was changed.
RunData PrepareData(const Run& run);

// What PrepareData left; kNotFound with the command to run when it is not complete.
RunData LoadRunData(const Run& run);

// Held-out rows kept in the run, or nothing when it has none.
std::vector<EvalRow> LoadTestRows(const Run& run);

}  // namespace elrea
