// Trains the gates of a joined adapter on token rows, its parts and the backbone frozen: the loss, batches,
// order, Adam and schedule of Finetune, without dropout.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "lora/lora_weights.h"
#include "train/finetune.h"

namespace elrea {

struct GateJob {
  std::string label;  // of progress and messages
  const Decoder* decoder;
  const LoraWeights* lora;  // with a gate, whose parameters are where training begins and ends
  std::vector<const TokenRow*> rows;
  std::filesystem::path directory;
  std::function<bool(int64_t steps)> keep_going = {};  // as in FinetuneJob
};

struct GateResult {
  double final_loss = 0;  // mean over the last epoch, nats per response token
  double seconds = 0;     // over all sessions
};

// Writes state.safetensors while it is under way and gates.safetensors (tensor "params") at its end; a
// directory that holds the result gives it at once. kInvalidInput for no rows, or a loss that is not finite.
GateResult TrainGates(const GateJob& job, const FinetuneOptions& options);

}  // namespace elrea
