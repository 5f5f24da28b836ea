// What killed fine-tunings need to go on: parameters, moments, positions and sums of all that are under way side by
// side, in one atomic file, so that they go on from the same moment.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "core/json.h"
#include "train/optimizer.h"

namespace elrea {

struct RunState {
  torch::Tensor params;   // [num_params] f32, as the moments on the device that trains
  AdamState adam;
  int64_t epoch = 0;      // the epoch under way
  int64_t batch = 0;      // batches of it already done
  int64_t tokens = 0;     // over all epochs
  double loss_sum = 0;    // of the epoch under way: sum of nll over response tokens
  int64_t loss_count = 0; // ... and how many
  double seconds = 0;     // of training so far, over all sessions
  double last_loss = 0, last_validation_loss = -1;  // of the last finished epoch

  // The sums become last_loss and, with the batches, begin anew.
  void EndEpoch();
};

// state.safetensors in `directory`, by name of the fine-tuning.
void SaveRunStates(const std::filesystem::path& directory, const std::map<std::string, const RunState*>& states);
// On the CPU; empty when there is no file. kCorrupt; kInvalidInput for another version's file.
std::map<std::string, RunState> LoadRunStates(const std::filesystem::path& directory);
// The checksum of the file is of its tensors, not of the numbers beside them: kCorrupt, naming the file in `directory`,
// for a state that no fine-tuning of `num_params` parameters and `epochs` times `steps_per_epoch` steps can be in.
void CheckRunState(const RunState& state, int64_t num_params, int64_t epochs, int64_t steps_per_epoch,
                   const std::filesystem::path& directory);
void RemoveRunStates(const std::filesystem::path& directory);

// Keeps metrics.jsonl in step with the state: drops lines whose "step" is beyond it, or that are none.
void TruncateMetrics(const std::filesystem::path& path, int64_t last_step);

}  // namespace elrea
