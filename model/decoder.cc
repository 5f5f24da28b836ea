// The decoder block, forward and backward; read this file first. One block is
//
//   r += O(attention(rope(QKV(norm(r)))))        r += Down(f(Gate(norm(r))) * Up(norm(r)))
//
// with optional biases, q/k norms and post-norms. r, the residual stream, is f32; products run in the compute dtype.
// Each addition to r is left pending until the next norm, which does both in one pass. The backward pass goes the same
// way in reverse, without gradients of the frozen weights; cheap element-wise results are computed again, not stored.
#include "model/decoder.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/error.h"
#include "model/attention.h"
#include "model/joined_rows.h"
#include "model/kernels.h"
#include "model/kv_cache.h"
#include "model/padded_rows.h"

#include <fmt/format.h>

namespace elrea {

using torch::Tensor;

namespace {

Tensor EmptyLike(const Tensor& rows, int64_t width, torch::Dtype dtype) {
  return EmptyRows(rows.size(0), width, rows.options().dtype(dtype));
}

}  // namespace

const char* ProjectionName(Projection projection) {
  constexpr const char* kNames[] = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                                    "up_proj", "down_proj", "qkv_proj", "gate_up_proj"};
  return kNames[static_cast<int>(projection)];
}

Decoder::Decoder(ModelWeights weights) : weights_(std::move(weights)) {
  const ModelConfig& c = weights_.config;
  int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  for (LayerWeights& l : weights_.layers) {
    Fused fused = {FrozenMatrix({{l.q, l.coded_q}, {l.k, l.coded_k}, {l.v, l.coded_v}}),
                   FrozenMatrix({{l.o, l.coded_o}}),
                   FrozenMatrix({{l.gate, l.coded_gate}, {l.up, l.coded_up}}),
                   FrozenMatrix({{l.down, l.coded_down}}),
                   {}};
    if (fused.qkv.is_dense()) {
      l.q = fused.qkv.dense().narrow(0, 0, q_width);
      l.k = fused.qkv.dense().narrow(0, q_width, kv_width);
      l.v = fused.qkv.dense().narrow(0, q_width + kv_width, kv_width);
    }
    if (fused.gate_up.is_dense()) {
      l.gate = fused.gate_up.dense().narrow(0, 0, c.ffn);
      l.up = fused.gate_up.dense().narrow(0, c.ffn, c.ffn);
    }
    if (c.qkv_bias) fused.bias[static_cast<int>(LinearGroup::kQkv)] = torch::cat({l.q_bias, l.k_bias, l.v_bias});
    fused.bias[static_cast<int>(LinearGroup::kO)] = l.o_bias;
    if (c.mlp_bias) fused.bias[static_cast<int>(LinearGroup::kGateUp)] = torch::cat({l.gate_bias, l.up_bias});
    fused.bias[static_cast<int>(LinearGroup::kDown)] = l.down_bias;
    fused_.push_back(fused);
  }
  rope_ = std::make_unique<RopeTable>(c.rope_theta, c.head_dim, c.rope_scaling, device());
  if (c.rope_theta_local > 0) {
    rope_local_ = std::make_unique<RopeTable>(c.rope_theta_local, c.head_dim, RopeScaling{}, device());
  }
}

Tensor Decoder::RopeFor(int64_t layer, int64_t num_positions) const {
  if (!config().layer_skips_rope.empty() && config().layer_skips_rope[layer]) return {};
  bool local = rope_local_ && !config().layer_is_sliding.empty() && config().layer_is_sliding[layer];
  return (local ? rope_local_ : rope_)->Get(num_positions);
}

TokenPositions Decoder::Positions(const PackedBatch& batch) const {
  TokenPositions positions = {torch::empty({batch.num_tokens()}, torch::kLong)};
  int64_t* p = positions.at.data_ptr<int64_t>();
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    int64_t past = batch.cache(s) ? batch.cache(s)->length() : 0;
    if (past + batch.length(s) > config().context_length) {
      throw Error(ErrorKind::kInvalidInput,
                  fmt::format("a sequence of {} tokens is longer than the model's context of {}; shorten the prompt or "
                              "lower the number of new tokens",
                              past + batch.length(s), config().context_length));
    }
    for (int64_t i = 0; i < batch.length(s); ++i) *p++ = past + i;
    positions.end = std::max(positions.end, past + batch.length(s));
  }
  positions.at = positions.at.to(device());
  return positions;
}

Tensor Decoder::Forward(const PackedBatch& batch, LinearDelta* delta, ForwardTape* tape) const {
  at::NoGradGuard no_grad;
  const TokenPositions positions = Positions(batch);
  Tensor residual = weights_.embedding.index_select(0, batch.ids.to(device())).to(torch::kFloat);  // [tokens, dim]
  if (config().embedding_scale != 1) residual.mul_(config().embedding_scale);
  if (tape) *tape = {tape->first_layer, std::vector<LayerTape>(config().layers), positions};
  Tensor pending;  // what the next norm adds to the residual first
  for (int64_t layer = 0; layer < config().layers; ++layer) {
    LayerTape* kept = tape && layer >= tape->first_layer ? &tape->layers[layer] : nullptr;
    AttentionBlock(layer, batch, positions, delta, residual, pending, kept);
    MlpBlock(layer, batch, delta, residual, pending, kept);
  }
  for (int64_t s = 0; s < batch.num_segments(); ++s) {
    if (batch.cache(s)) batch.cache(s)->Advance(batch.length(s));
  }
  return residual.add_(pending);
}

void Decoder::RotateAndNormQk(int64_t layer, const TokenPositions& positions, Tensor& qkv, LayerTape* tape) const {
  const ModelConfig& c = config();
  Tensor k = qkv.narrow(1, c.heads * c.head_dim, c.kv_heads * c.head_dim);
  if (c.qk_norm) {
    LayerTape none;
    LayerTape& t = tape ? *tape : none;
    if (tape) {
      t.q_in = EmptyLike(qkv, c.heads * c.head_dim, dtype());
      t.k_in = EmptyLike(qkv, c.kv_heads * c.head_dim, dtype());
      t.q_rstd = EmptyLike(qkv, c.heads, torch::kFloat);
      t.k_rstd = EmptyLike(qkv, c.kv_heads, torch::kFloat);
    }
    SliceNorm(qkv, c.heads, weights_.layers[layer].q_norm, c.norm_eps, t.q_in, t.q_rstd);
    SliceNorm(k, c.kv_heads, weights_.layers[layer].k_norm, c.norm_eps, t.k_in, t.k_rstd);
  }
  Rotate(layer, positions, qkv, /*inverse=*/false);
}

void Decoder::Rotate(int64_t layer, const TokenPositions& positions, Tensor& qkv, bool inverse) const {
  const ModelConfig& c = config();
  Tensor table = RopeFor(layer, positions.end);
  if (!table.defined()) return;
  Tensor k = qkv.narrow(1, c.heads * c.head_dim, c.kv_heads * c.head_dim);
  Rope(qkv, c.heads, c.head_dim, table, positions.at, inverse);
  Rope(k, c.kv_heads, c.head_dim, table, positions.at, inverse);
}

Tensor Decoder::Linear(int64_t layer, LinearGroup group, const FrozenMatrix& weight, const PackedBatch& batch,
                       const Tensor& x, LinearDelta* delta) const {
  Tensor y = FrozenLinear(x, weight);
  if (const Tensor& bias = Bias(layer, group); bias.defined()) y.add_(bias);
  if (delta) delta->AddForward(layer, group, batch, x, y);
  return y;
}

namespace {

// The norm in front of a block: adds what is pending to the residual and, for a backward pass, keeps both.
Tensor BlockNorm(Tensor& residual, const Tensor& pending, const Tensor& weight, double eps, torch::Dtype dtype,
                 bool keep, Tensor& kept, Tensor& rstd) {
  Tensor normed = EmptyLike(residual, residual.size(1), dtype);
  rstd = torch::empty({residual.size(0)}, residual.options());
  if (keep) kept = torch::empty_like(normed);
  AddAndNorm(residual, pending, weight, eps, normed, rstd, kept);
  return normed;
}

// The norm behind a block (post-norm families), in place; undefined weight: none.
void PostNorm(Tensor& out, const Tensor& weight, double eps, bool keep, Tensor& kept, Tensor& rstd) {
  if (!weight.defined()) return;
  if (keep) {
    kept = torch::empty_like(out);
    rstd = EmptyLike(out, 1, torch::kFloat);
  }
  SliceNorm(out, 1, weight, eps, kept, rstd);
}

// Gradient of a block's output in the compute dtype, through its post-norm.
Tensor BlockOutputGradient(const Tensor& grad_residual, torch::Dtype dtype, const Tensor& weight, const Tensor& kept,
                           const Tensor& rstd) {
  Tensor grad = EmptyLike(grad_residual, grad_residual.size(1), dtype);
  grad.copy_(grad_residual);
  if (weight.defined()) SliceNormBackward(grad, 1, weight, kept, rstd);
  return grad;
}

}  // namespace

void Decoder::AttentionBlock(int64_t layer, const PackedBatch& batch, const TokenPositions& positions, LinearDelta* delta,
                             Tensor& residual, Tensor& pending, LayerTape* tape) const {
  const LayerWeights& w = weights_.layers[layer];
  LayerTape none;
  LayerTape& t = tape ? *tape : none;
  bool keep = tape != nullptr;
  Tensor normed = BlockNorm(residual, pending, w.attn_norm, config().norm_eps, dtype(), keep, t.attn_in, t.attn_rstd);
  Tensor qkv = Linear(layer, LinearGroup::kQkv, fused_[layer].qkv, batch, normed, delta);
  RotateAndNormQk(layer, positions, qkv, tape);
  Tensor attended = EmptyLike(qkv, config().heads * config().head_dim, dtype());
  Attention(LayerAttention(config(), layer), batch, layer, qkv, attended);
  pending = Linear(layer, LinearGroup::kO, fused_[layer].o, batch, attended, delta);
  PostNorm(pending, w.attn_post_norm, config().norm_eps, keep, t.attn_post_in, t.attn_post_rstd);
  if (keep) {
    t.qkv = qkv;
    t.attn_out = attended;
  }
}

void Decoder::MlpBlock(int64_t layer, const PackedBatch& batch, LinearDelta* delta, Tensor& residual, Tensor& pending,
                       LayerTape* tape) const {
  const LayerWeights& w = weights_.layers[layer];
  LayerTape none;
  LayerTape& t = tape ? *tape : none;
  bool keep = tape != nullptr;
  Tensor normed = BlockNorm(residual, pending, w.ffn_norm, config().norm_eps, dtype(), keep, t.ffn_in, t.ffn_rstd);
  Tensor gate_up = Linear(layer, LinearGroup::kGateUp, fused_[layer].gate_up, batch, normed, delta);
  Tensor act = EmptyLike(gate_up, config().ffn, dtype());
  GatedActivation(gate_up, config().activation, act);
  pending = Linear(layer, LinearGroup::kDown, fused_[layer].down, batch, act, delta);
  PostNorm(pending, w.ffn_post_norm, config().norm_eps, keep, t.ffn_post_in, t.ffn_post_rstd);
  if (keep) t.gate_up = gate_up;
}

namespace {

void JoinBeginnings(ForwardTape& tape, int64_t layer, const PackedBatch& whole) {
  for (const auto rows : kLayerTapeRows) {
    std::vector<const Tensor*> beginnings;
    for (const ForwardTape* before : tape.beginnings) beginnings.push_back(before ? &(before->layers[layer].*rows) : nullptr);
    tape.layers[layer].*rows = JoinRows(beginnings, tape.layers[layer].*rows, whole);
  }
}

}  // namespace

void Decoder::Backward(const PackedBatch& batch, ForwardTape& tape, Tensor grad_residual, TrainableDelta& delta) const {
  at::NoGradGuard no_grad;
  if (!tape.beginnings.empty()) tape.positions = Positions(batch);
  for (int64_t layer = config().layers - 1; layer >= tape.first_layer; --layer) {
    if (!tape.beginnings.empty()) JoinBeginnings(tape, layer, batch);
    MlpBackward(layer, batch, tape.layers[layer], delta, grad_residual);
    AttentionBlockBackward(layer, batch, tape, delta, grad_residual);
    tape.layers[layer] = {};
  }
}

void Decoder::MlpBackward(int64_t layer, const PackedBatch& batch, LayerTape& t, TrainableDelta& delta,
                          Tensor& grad_residual) const {
  const LayerWeights& w = weights_.layers[layer];
  Tensor grad_out = BlockOutputGradient(grad_residual, dtype(), w.ffn_post_norm, t.ffn_post_in, t.ffn_post_rstd);
  Tensor act = EmptyLike(t.gate_up, config().ffn, dtype());
  GatedActivation(t.gate_up, config().activation, act);
  Tensor grad_act = FrozenLinearBackward(grad_out, fused_[layer].down);
  delta.AddBackward(layer, LinearGroup::kDown, batch, act, grad_out, grad_act);
  GatedActivationBackward(grad_act, t.gate_up, config().activation, t.gate_up);  // gate_up becomes its gradient
  Tensor normed = torch::empty_like(t.ffn_in);
  ReplayNorm(t.ffn_in, t.ffn_rstd, w.ffn_norm, normed);
  Tensor grad_normed = FrozenLinearBackward(t.gate_up, fused_[layer].gate_up);
  delta.AddBackward(layer, LinearGroup::kGateUp, batch, normed, t.gate_up, grad_normed);
  NormBackward(grad_normed, t.ffn_in, t.ffn_rstd, w.ffn_norm, grad_residual);
}

void Decoder::AttentionBlockBackward(int64_t layer, const PackedBatch& batch, ForwardTape& tape, TrainableDelta& delta,
                                     Tensor& grad_residual) const {
  const ModelConfig& c = config();
  LayerTape& t = tape.layers[layer];
  const LayerWeights& w = weights_.layers[layer];
  Tensor grad_out = BlockOutputGradient(grad_residual, dtype(), w.attn_post_norm, t.attn_post_in, t.attn_post_rstd);
  Tensor grad_attended = FrozenLinearBackward(grad_out, fused_[layer].o);
  delta.AddBackward(layer, LinearGroup::kO, batch, t.attn_out, grad_out, grad_attended);
  Tensor grad_qkv = EmptyLike(t.qkv, t.qkv.size(1), dtype());
  AttentionBackward(LayerAttention(c, layer), batch, t.qkv, t.attn_out, grad_attended, grad_qkv);
  Tensor grad_k = grad_qkv.narrow(1, c.heads * c.head_dim, c.kv_heads * c.head_dim);
  Rotate(layer, tape.positions, grad_qkv, /*inverse=*/true);
  if (c.qk_norm) {
    SliceNormBackward(grad_qkv, c.heads, w.q_norm, t.q_in, t.q_rstd);
    SliceNormBackward(grad_k, c.kv_heads, w.k_norm, t.k_in, t.k_rstd);
  }
  Tensor normed = torch::empty_like(t.attn_in);
  ReplayNorm(t.attn_in, t.attn_rstd, w.attn_norm, normed);
  Tensor grad_normed;
  const bool needed = layer > tape.first_layer;  // below the first block nothing is trained
  if (needed) grad_normed = FrozenLinearBackward(grad_qkv, fused_[layer].qkv);
  delta.AddBackward(layer, LinearGroup::kQkv, batch, normed, grad_qkv, grad_normed);
  if (needed) NormBackward(grad_normed, t.attn_in, t.attn_rstd, w.attn_norm, grad_residual);
}

Tensor Decoder::FinalNorm(const Tensor& rows, Tensor& rstd, Tensor& saved) const {
  Tensor copy = rows.clone();
  Tensor normed = EmptyLike(rows, config().dim, dtype());
  rstd = torch::empty({rows.size(0)}, rows.options());
  AddAndNorm(copy, Tensor(), weights_.final_norm, config().norm_eps, normed, rstd, saved);
  return normed;
}

Tensor Decoder::Logits(const Tensor& residual) const {
  at::NoGradGuard no_grad;
  Tensor rstd, saved;
  return VocabularyLogits(FinalNorm(residual, rstd, saved), weights_.head, config().final_logit_softcap);
}

Tensor Decoder::MixedLogits(const Tensor& residual, const Tensor& weights) const {
  at::NoGradGuard no_grad;
  if (config().final_logit_softcap > 0) return at::mm(weights, Logits(residual));
  Tensor normed = torch::empty_like(residual), copy = residual.clone(), saved;
  Tensor rstd = torch::empty({residual.size(0)}, residual.options());
  AddAndNorm(copy, Tensor(), weights_.final_norm, config().norm_eps, normed, rstd, saved);
  return VocabularyLogits(at::mm(weights, normed).to(dtype()), weights_.head, 0);
}

namespace {

LossTargets OnDevice(const LossTargets& t, torch::Device device) {
  return {t.positions.to(device), t.targets.to(device), t.weights.to(device)};
}

}  // namespace

Tensor Decoder::Loss(const Tensor& residual, const LossTargets& targets) const {
  at::NoGradGuard no_grad;
  const LossTargets t = OnDevice(targets, residual.device());
  Tensor rstd, saved;
  Tensor normed = FinalNorm(residual.index_select(0, t.positions), rstd, saved);
  return TokenLoss(normed, weights_.head, config().final_logit_softcap, t.targets, t.weights, nullptr);
}

Tensor Decoder::LossAndGradient(const Tensor& residual, const LossTargets& targets, Tensor& grad_residual,
                                VocabularyGradient how) const {
  at::NoGradGuard no_grad;
  const LossTargets t = OnDevice(targets, residual.device());
  Tensor rows = residual.index_select(0, t.positions), rstd;
  Tensor saved = EmptyLike(rows, config().dim, dtype());
  Tensor normed = FinalNorm(rows, rstd, saved), grad_normed;
  Tensor nll = TokenLoss(normed, weights_.head, config().final_logit_softcap, t.targets, t.weights, &grad_normed, how);
  Tensor grad_rows = torch::zeros_like(rows);
  NormBackward(grad_normed, saved, rstd, weights_.final_norm, grad_rows);
  grad_residual = torch::zeros_like(residual);
  grad_residual.index_copy_(0, t.positions, grad_rows);
  return nll;
}

}  // namespace elrea
