// Next-token cross-entropy at chosen positions, fused with the vocabulary product: logits exist for one chunk of
// positions at a time, never for all (method 1 and 2).
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace elrea {

// Where a loss is taken. Position t predicts token t + 1 of its segment.
struct LossTargets {
  torch::Tensor positions;  // [n] i64, rows of the packed batch, ascending
  torch::Tensor targets;    // [n] i64, the tokens to predict
  torch::Tensor weights;    // [n] f32, the loss is sum_i weights_i * nll_i
};

// How the gradient passes the vocabulary matrix on the way back.
enum class VocabularyGradient {
  kExact,   // as the compute dtype has it: what fine-tuning takes
  kLikely,  // in bf16 on the CPU over the likely columns only (model/likely_columns.h): for features, which are compared by cosine
};

// nll [n] f32 of targets under logits = softcap(normed head^T). normed [n, dim] T; head [vocab, dim] T.
// With `grad_normed` (undefined or [n, dim] T on entry): receives d(sum_i weights_i nll_i) / d normed.
torch::Tensor TokenLoss(const torch::Tensor& normed, const torch::Tensor& head, double softcap,
                        const torch::Tensor& targets, const torch::Tensor& weights, torch::Tensor* grad_normed,
                        VocabularyGradient how = VocabularyGradient::kExact);

// logits [n, vocab] f32.
torch::Tensor VocabularyLogits(const torch::Tensor& normed, const torch::Tensor& head, double softcap);

}  // namespace elrea
