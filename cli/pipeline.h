// The stages of a run, each resumable through its own artifact, and the chain of all of them.
#pragma once

#include "cli/run.h"
#include "cli/run_data.h"

namespace elrea {

// Each does nothing when its artifact is complete, goes on where it was stopped, and throws kNotFound naming
// the command when the stage before it is not done.
void TrainBase(const Run& run, const RunData& data);        // -> base/
void ExtractFeatures(const Run& run, const RunData& data);  // -> features/
void ClusterRows(const Run& run, const RunData& data);      // -> clusters/
void TrainExperts(const Run& run, const RunData& data);     // -> experts/<cluster>/

// data -> base adapter -> features -> clusters -> experts -> evaluation, with the report on stdout when the
// run has held-out rows.
void RunPipeline(const Run& run);

}  // namespace elrea
