// The tests' naive twin of the whole forward pass: one sequence at a time, every head by itself, plain ATen with
// autograd, LoRA as two matrix products. Slow, obvious, and independent of the decoder's own code.
#pragma once

#include <cstdint>
#include <vector>

#include "lora/adapter.h"
#include "model/weights.h"

namespace elrea {

// Logits [seq, vocab] f32 of one token sequence; `params` [num_params] f32 (may require grad) or undefined: no adapter.
torch::Tensor TwinLogits(const ModelWeights& weights, const AdapterConfig& adapter, const torch::Tensor& params,
                         const std::vector<int32_t>& tokens);

// An adapter whose A and B are both random, so that every gradient is non-zero.
Adapter MakeRandomAdapter(const ModelConfig& model, const AdapterConfig& config, uint64_t seed);

// Seeded token ids in [0, vocab).
std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, uint64_t seed);

}  // namespace elrea
