// What a killed fine-tuning run needs to go on: parameters, moments, position and sums, in one atomic file; and the
// manifest that says which job a directory belongs to.
#pragma once

#include <filesystem>
#include <string>

#include "core/json.h"
#include "train/optimizer.h"

namespace elrea {

struct RunState {
  torch::Tensor params;   // [num_params] f32
  AdamState adam;
  int64_t epoch = 0;      // the epoch under way
  int64_t batch = 0;      // batches of it already done
  int64_t tokens = 0;     // over all epochs
  double loss_sum = 0;    // of the epoch under way: sum of nll over response tokens
  int64_t loss_count = 0; // ... and how many
  double seconds = 0;     // of training so far, over all sessions
  double last_loss = 0, last_validation_loss = -1;  // of the last finished epoch
};

void SaveRunState(const std::filesystem::path& directory, const RunState& state);
// False when there is none. kCorrupt.
bool LoadRunState(const std::filesystem::path& directory, RunState& state);
void RemoveRunState(const std::filesystem::path& directory);

// Keeps metrics.jsonl in step with the state: drops lines whose "step" is beyond it.
void TruncateMetrics(const std::filesystem::path& path, int64_t last_step);

}  // namespace elrea
