// The backbone: a frozen decoder-only transformer, forward and hand-written backward, over packed batches. What is
// added to its linear layers is an argument of each pass (LinearDelta), never state of the model.
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <vector>

#include "model/linear.h"
#include "model/linear_delta.h"
#include "model/packed_batch.h"
#include "model/rope.h"
#include "model/token_loss.h"
#include "model/weights.h"

namespace elrea {

// What one block keeps for its backward pass. T = compute dtype; undefined where the family has no such step.
struct LayerTape {
  torch::Tensor attn_in, attn_rstd;            // residual before attention [tokens, dim] T, [tokens] f32
  torch::Tensor qkv;                           // after rope [tokens, (heads + 2 kv_heads) * head_dim] T
  torch::Tensor q_in, q_rstd, k_in, k_rstd;    // before q/k norm
  torch::Tensor attn_out;                      // [tokens, heads * head_dim] T
  torch::Tensor attn_post_in, attn_post_rstd;  // before the post-norm
  torch::Tensor ffn_in, ffn_rstd;              // residual before the MLP [tokens, dim] T
  torch::Tensor gate_up;                       // [tokens, 2 ffn] T
  torch::Tensor ffn_post_in, ffn_post_rstd;
};
constexpr torch::Tensor LayerTape::* kLayerTapeRows[] = {
    &LayerTape::attn_in, &LayerTape::attn_rstd, &LayerTape::qkv,          &LayerTape::q_in,           &LayerTape::q_rstd,
    &LayerTape::k_in,    &LayerTape::k_rstd,    &LayerTape::attn_out,     &LayerTape::attn_post_in,   &LayerTape::attn_post_rstd,
    &LayerTape::ffn_in,  &LayerTape::ffn_rstd,  &LayerTape::gate_up,      &LayerTape::ffn_post_in,    &LayerTape::ffn_post_rstd};

// Where the tokens of a pass stand in their sequences.
struct TokenPositions {
  torch::Tensor at;  // [tokens] i64 on the model's device
  int64_t end = 0;   // one past the last
};

struct ForwardTape {
  int64_t first_layer = 0;  // set before Forward; blocks below keep nothing and get no backward pass
  std::vector<LayerTape> layers;
  TokenPositions positions;
  // [segments], or empty: what was kept of the tokens in front of each segment (null: there are none), which another pass
  // has seen. Set between Forward and Backward, on the CPU only; see model/joined_rows.h.
  std::vector<const ForwardTape*> beginnings = {};
};

// Const-shareable after construction.
class Decoder {
 public:
  // Takes the weights and joins q/k/v and gate/up into single matrices (dense parts become views).
  explicit Decoder(ModelWeights weights);

  const ModelConfig& config() const { return weights_.config; }
  const ModelWeights& weights() const { return weights_; }
  torch::Dtype dtype() const { return weights_.embedding.scalar_type(); }
  torch::Device device() const { return weights_.embedding.device(); }

  // Cosines and sines of a layer, as RopeTable::Get; undefined for a layer that does not rotate.
  torch::Tensor RopeFor(int64_t layer, int64_t num_positions) const;
  // What the frozen layers of a group add to their product, all members' side by side [out] f32; undefined: nothing.
  const torch::Tensor& Bias(int64_t layer, LinearGroup group) const {
    return fused_[layer].bias[static_cast<int>(group)];
  }

  // The residual stream after the last block [tokens, dim] f32. `delta` may be null (backbone alone). With `tape` keeps
  // what Backward needs of the batch's tokens; of those that caches hold already, another pass has it. Advances the caches.
  // Throws kInvalidInput when a segment would pass the model's context length.
  torch::Tensor Forward(const PackedBatch& batch, LinearDelta* delta, ForwardTape* tape = nullptr) const;

  // grad_residual [tokens, dim] f32: gradient with respect to Forward's result; consumed. Calls delta.AddBackward for
  // every layer from the last to the tape's first; frees the tape as it goes. The batch is Forward's, or with
  // tape.beginnings one of whole segments without caches.
  void Backward(const PackedBatch& batch, ForwardTape& tape, torch::Tensor grad_residual, TrainableDelta& delta) const;

  // logits [n, vocab] f32 of chosen rows of Forward's result. residual [n, dim] f32.
  torch::Tensor Logits(const torch::Tensor& residual) const;
  // sum_r weights[q, r] * logits of row r, for each q: [requests, vocab] f32. weights [requests, n] f32. Without a
  // soft-cap the sum is taken before the (linear) vocabulary product, which then has one row per request.
  torch::Tensor MixedLogits(const torch::Tensor& residual, const torch::Tensor& weights) const;
  // nll [n] f32 at the targets, which may be on the CPU.
  torch::Tensor Loss(const torch::Tensor& residual, const LossTargets& targets) const;
  // The same, and the gradient of the weighted sum with respect to all of `residual` [tokens, dim] f32.
  torch::Tensor LossAndGradient(const torch::Tensor& residual, const LossTargets& targets,
                                torch::Tensor& grad_residual,
                                VocabularyGradient how = VocabularyGradient::kExact) const;

 private:
  struct Fused {
    FrozenMatrix qkv, o, gate_up, down;
    std::array<torch::Tensor, kNumLinearGroups> bias;
  };
  TokenPositions Positions(const PackedBatch& batch) const;
  torch::Tensor FinalNorm(const torch::Tensor& rows, torch::Tensor& rstd, torch::Tensor& saved) const;
  void AttentionBlock(int64_t layer, const PackedBatch& batch, const TokenPositions& positions, LinearDelta* delta,
                      torch::Tensor& residual, torch::Tensor& pending, LayerTape* tape) const;
  void MlpBlock(int64_t layer, const PackedBatch& batch, LinearDelta* delta, torch::Tensor& residual,
                torch::Tensor& pending, LayerTape* tape) const;
  void MlpBackward(int64_t layer, const PackedBatch& batch, LayerTape& tape, TrainableDelta& delta,
                   torch::Tensor& grad_residual) const;
  void AttentionBlockBackward(int64_t layer, const PackedBatch& batch, ForwardTape& tape, TrainableDelta& delta,
                              torch::Tensor& grad_residual) const;
  torch::Tensor Linear(int64_t layer, LinearGroup group, const FrozenMatrix& weight, const PackedBatch& batch,
                       const torch::Tensor& x, LinearDelta* delta) const;
  void RotateAndNormQk(int64_t layer, const TokenPositions& positions, torch::Tensor& qkv, LayerTape* tape) const;
  void Rotate(int64_t layer, const TokenPositions& positions, torch::Tensor& qkv, bool inverse) const;

  ModelWeights weights_;
  std::vector<Fused> fused_;
  std::unique_ptr<RopeTable> rope_, rope_local_;
};

}  // namespace elrea
