#include "lora/testing.h"

#include <ATen/ATen.h>

#include <cmath>

#include "core/rng.h"

namespace elrea {

using torch::Tensor;

namespace {

Tensor Norm(const Tensor& x, const Tensor& weight, double eps) {
  return x * torch::rsqrt(x.square().mean(-1, true) + eps) * weight;
}

// Rotation of x [seq, head_dim] by position * base^(-2 i / head_dim).
Tensor Rotate(const Tensor& x, double base, double linear_scale) {
  int64_t seq = x.size(0), half = x.size(1) / 2;
  std::vector<float> angles;
  for (int64_t p = 0; p < seq; ++p) {
    for (int64_t i = 0; i < half; ++i) {
      angles.push_back(static_cast<float>(p / linear_scale * std::pow(base, -2.0 * i / (2.0 * half))));
    }
  }
  Tensor angle = torch::tensor(angles).view({seq, half});
  Tensor a = x.narrow(1, 0, half), b = x.narrow(1, half, half);
  return torch::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, 1);
}

class Twin {
 public:
  Twin(const ModelWeights& weights, const AdapterConfig& adapter, const Tensor& params)
      : w_(weights), c_(weights.config), scale_(adapter.scale()), layout_(c_, adapter), params_(params) {}

  Tensor Logits(const std::vector<int32_t>& tokens) {
    Tensor ids = torch::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), torch::kLong);
    Tensor x = w_.embedding.to(torch::kFloat).index_select(0, ids) * c_.embedding_scale;
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      const LayerWeights& l = w_.layers[layer];
      Tensor attended = Attend(layer, Norm(x, l.attn_norm, c_.norm_eps));
      x = x + (l.attn_post_norm.defined() ? Norm(attended, l.attn_post_norm, c_.norm_eps) : attended);
      Tensor mlp = Mlp(layer, Norm(x, l.ffn_norm, c_.norm_eps));
      x = x + (l.ffn_post_norm.defined() ? Norm(mlp, l.ffn_post_norm, c_.norm_eps) : mlp);
    }
    Tensor logits = at::mm(Norm(x, w_.final_norm, c_.norm_eps), w_.head.to(torch::kFloat).t());
    return c_.final_logit_softcap > 0 ? (logits / c_.final_logit_softcap).tanh() * c_.final_logit_softcap : logits;
  }

 private:
  Tensor Linear(int64_t layer, Projection p, const Tensor& weight, const Tensor& x) {
    Tensor y = at::mm(x, weight.to(torch::kFloat).t());
    if (!params_.defined()) return y;
    for (int g = 0; g < kNumLinearGroups; ++g) {
      auto id = static_cast<LinearGroup>(g);
      const auto& slots = layout_.group(layer, id).slots;
      for (size_t s = 0; s < slots.size(); ++s) {
        if (slots[s].projection != p) continue;
        Tensor a = layout_.A(params_, layer, id, s), b = layout_.B(params_, layer, id, s);
        y = y + scale_ * at::mm(at::mm(x, a.t()), b.t());
      }
    }
    return y;
  }

  Tensor Attend(int64_t layer, const Tensor& x) {
    const LayerWeights& l = w_.layers[layer];
    bool slides = !c_.layer_is_sliding.empty() && c_.layer_is_sliding[layer];
    double base = slides && c_.rope_theta_local > 0 ? c_.rope_theta_local : c_.rope_theta;
    double linear = slides && c_.rope_theta_local > 0 ? 1.0 : c_.rope_scaling.factor;
    Tensor q = Linear(layer, Projection::kQ, l.q, x), k = Linear(layer, Projection::kK, l.k, x);
    Tensor v = Linear(layer, Projection::kV, l.v, x);
    int64_t seq = x.size(0), d = c_.head_dim;
    Tensor i = torch::arange(seq).unsqueeze(1), j = torch::arange(seq).unsqueeze(0);
    Tensor hidden = j > i;
    if (slides) hidden = hidden | (j <= i - c_.sliding_window);
    std::vector<Tensor> heads;
    for (int64_t h = 0; h < c_.heads; ++h) {
      int64_t kv = h / (c_.heads / c_.kv_heads);
      Tensor qh = q.narrow(1, h * d, d), kh = k.narrow(1, kv * d, d), vh = v.narrow(1, kv * d, d);
      if (c_.qk_norm) {
        qh = Norm(qh, l.q_norm, c_.norm_eps);
        kh = Norm(kh, l.k_norm, c_.norm_eps);
      }
      Tensor scores = at::mm(Rotate(qh, base, linear), Rotate(kh, base, linear).t()) * c_.attention_scale;
      heads.push_back(at::mm(torch::softmax(scores.masked_fill(hidden, -INFINITY), 1), vh));
    }
    return Linear(layer, Projection::kO, l.o, torch::cat(heads, 1));
  }

  Tensor Mlp(int64_t layer, const Tensor& x) {
    const LayerWeights& l = w_.layers[layer];
    Tensor gate = Linear(layer, Projection::kGate, l.gate, x), up = Linear(layer, Projection::kUp, l.up, x);
    Tensor act = c_.activation == Activation::kSilu ? at::silu(gate) : at::gelu(gate, "tanh");
    return Linear(layer, Projection::kDown, l.down, act * up);
  }

  const ModelWeights& w_;
  const ModelConfig& c_;
  double scale_;
  AdapterLayout layout_;
  Tensor params_;
};

}  // namespace

Tensor TwinLogits(const ModelWeights& weights, const AdapterConfig& adapter, const Tensor& params,
                  const std::vector<int32_t>& tokens) {
  return Twin(weights, adapter, params).Logits(tokens);
}

Adapter MakeRandomAdapter(const ModelConfig& model, const AdapterConfig& config, uint64_t seed) {
  Adapter adapter = MakeAdapter(model, config, seed);
  float* p = adapter.params.data_ptr<float>();
  Rng rng(seed, 99);
  for (int64_t i = 0; i < adapter.params.numel(); ++i) p[i] = static_cast<float>(0.1 * rng.Normal());
  return adapter;
}

std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(rng.Below(static_cast<uint64_t>(vocab))));
  return tokens;
}

}  // namespace elrea
