#include "encoder/bert.h"

#include <ATen/Functions.h>

#include "core/error.h"

namespace elrea {
namespace {

using torch::Tensor;

Tensor Linear(const Tensor& x, const LinearParams& params) {
  return at::linear(x, params.weight, params.bias);
}

Tensor Norm(const Tensor& x, const LinearParams& params, double eps) {
  return at::layer_norm(x, {x.size(-1)}, params.weight, params.bias, eps);
}

Tensor Activate(const Tensor& x, const std::string& activation) {
  if (activation == "relu") return at::relu(x);
  if (activation == "silu") return at::silu(x);
  return at::gelu(x, activation == "gelu_new" ? "tanh" : "none");
}

// softmax(q k^T / sqrt(head_dim)) v, over the positions that `mask` [batch, 1, 1, seq] allows.
Tensor Attend(const BertLayer& layer, const Tensor& x, const Tensor& mask, int64_t heads) {
  const int64_t batch = x.size(0), seq = x.size(1), dim = x.size(2);
  const auto split = [&](const LinearParams& params) {  // [batch, heads, seq, head_dim]
    return Linear(x, params).view({batch, seq, heads, dim / heads}).transpose(1, 2);
  };
  const Tensor mixed =
      at::scaled_dot_product_attention(split(layer.query), split(layer.key), split(layer.value), mask);
  return Linear(mixed.transpose(1, 2).reshape({batch, seq, dim}), layer.attention_out);
}

}  // namespace

Tensor BertForward(const BertWeights& weights, const Tensor& ids, const Tensor& mask) {
  const BertConfig& config = weights.config;
  const torch::NoGradGuard no_grad;
  const int64_t seq = ids.size(1);
  Tensor x = at::embedding(weights.tokens, ids) + weights.positions.narrow(0, 0, seq) + weights.segments[0];
  x = Norm(x, weights.embedding_norm, config.norm_eps);
  const Tensor attend_to = mask.view({mask.size(0), 1, 1, seq});
  for (const BertLayer& layer : weights.layers) {
    x = Norm(x + Attend(layer, x, attend_to, config.heads), layer.attention_norm, config.norm_eps);
    const Tensor inner = Activate(Linear(x, layer.up), config.activation);
    x = Norm(x + Linear(inner, layer.down), layer.ffn_norm, config.norm_eps);
  }
  return x;
}

}  // namespace elrea
