// How adapters of parts of the training rows are trained: the ensemble's experts, and those of the study's other divisions.
#pragma once

#include <cstdint>
#include <vector>

#include "train/finetune.h"

namespace elrea {

// The options of one adapter per group of row indices (ascending, disjoint, none empty) of `all_rows` rows: `options`, but
//   batch_size  with equal_steps, the group's share of it (BatchForEqualSteps)
//   seed        options.seed + 1 + the group's place among the groups by their first rows
// So a group's adapter depends on the division alone and not on how its parts are numbered, and clusterings that differ
// in numbering only have the same experts.
std::vector<FinetuneOptions> OptionsOfGroups(const FinetuneOptions& options, bool equal_steps,
                                             const std::vector<std::vector<int64_t>>& groups, int64_t all_rows);

}  // namespace elrea
