// What instructions that begin with the same tokens (a chat template's system prompt, a task's examples) have in common
// under one checkpoint: the forward pass over these tokens and the gradient of their losses, made once. The backward pass
// below the vocabulary is each row's own, because later tokens look back at the first ones.
#pragma once

#include <span>
#include <vector>

#include "features/example_gradients.h"
#include "lora/lora_weights.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace elrea {

// Fewer are not worth an extra pass.
constexpr int64_t kMinSharedTokens = 8;

// The longest beginning that all rows have; empty when there are no rows.
std::span<const int32_t> CommonBeginning(const std::vector<std::span<const int32_t>>& rows);

// Const-shareable after construction. CPU only.
class SharedBeginning {
 public:
  // `common`, at least 2 tokens: all but the last are passed here, as the last is what the one before it must predict.
  // `first_layer` as ForwardTape's.
  SharedBeginning(const Decoder& decoder, const LoraWeights& lora, std::span<const int32_t> common, int64_t first_layer);

  // Whether `row` begins so and has at least 2 tokens behind what is passed here.
  bool Begins(std::span<const int32_t> row) const;

  int64_t length() const { return cache_.length(); }  // of what is passed here
  const KvCache& cache() const { return cache_; }
  const ForwardTape& tape() const { return tape_; }
  const ExampleGradients& delta() const { return delta_; }
  // Gradient of the sum of the tokens' losses with respect to the residual stream [length, dim] f32.
  const torch::Tensor& grad_residual() const { return grad_residual_; }

 private:
  std::vector<int32_t> common_;
  KvCache cache_;
  ForwardTape tape_;
  ExampleGradients delta_;
  torch::Tensor grad_residual_;
};

}  // namespace elrea
