// Tiny random backbones for the tests of every stage, in memory and as files. Same seed, same numbers,
// everywhere.
#pragma once

#include <filesystem>

#include "core/json.h"
#include "model/testing_gguf.h"
#include "model/weights.h"

namespace elrea {

// Two layers, dim 32, four heads over two key heads, vocab 96, tied embeddings.
ModelConfig TinyLlamaConfig();
// Four layers with every switch of Gemma 3 on: sliding windows of 5 in all layers but the third, two rope
// bases, linear rope scaling, q and k norms, post norms, embedding and attention scales, soft cap on the
// logits.
ModelConfig TinyGemma3Config();
// The tiny Llama with q, k and v in one stored matrix, and gate and up in another.
ModelConfig TinyPhi3Config();

// Random weights of deviation 1/sqrt(in), norms about one. Works for any valid config.
ModelWeights MakeTinyModel(const ModelConfig& config, uint64_t seed, torch::Dtype dtype = torch::kFloat);

// config.json as transformers would write it. REQUIRES: a family with a Hugging Face form.
Json HuggingFaceConfig(const ModelConfig& config);

// Writes config.json and the tensors, in `num_shards` files with an index when more than one.
void WriteHuggingFaceModel(const ModelWeights& weights, const std::filesystem::path& directory,
                           int num_shards = 1);

// Metadata and tensors (F32) of a GGUF file, for the caller to change, add a tokenizer to, and write.
GgufBuilder MakeGguf(const ModelWeights& weights);

}  // namespace elrea
