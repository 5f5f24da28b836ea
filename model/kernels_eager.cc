// The plain ATen forms of the fused kernels: any device, any width. They are the definition; kernels.cc is tested
// against them.
#include <ATen/ATen.h>

#include "model/kernels.h"

namespace elrea::eager {

using torch::Tensor;

namespace {

// d/dx of x * rsqrt(mean(x^2) + eps) * w applied to g, with x in f32, over the last dimension.
Tensor NormGradient(const Tensor& g, const Tensor& x, const Tensor& rstd, const Tensor& weight) {
  Tensor gw = g * weight;
  Tensor hat = x * rstd.unsqueeze(-1);
  return (gw - hat * (gw * hat).mean(-1, /*keepdim=*/true)) * rstd.unsqueeze(-1);
}

}  // namespace

void AddAndNorm(Tensor& residual, const Tensor& addend, const Tensor& weight, double eps, Tensor& normed, Tensor& rstd,
                Tensor& saved) {
  if (addend.defined()) residual.add_(addend.to(torch::kFloat));
  rstd.copy_(torch::rsqrt(residual.square().mean(-1) + eps));
  normed.copy_(residual * rstd.unsqueeze(-1) * weight);
  if (saved.defined()) saved.copy_(residual);
}

void ReplayNorm(const Tensor& saved, const Tensor& rstd, const Tensor& weight, Tensor& normed) {
  normed.copy_(saved.to(torch::kFloat) * rstd.unsqueeze(-1) * weight);
}

void NormBackward(const Tensor& grad_normed, const Tensor& saved, const Tensor& rstd, const Tensor& weight,
                  Tensor& grad_residual) {
  grad_residual.add_(NormGradient(grad_normed.to(torch::kFloat), saved.to(torch::kFloat), rstd, weight));
}

void SliceNorm(Tensor x, int64_t num_slices, const Tensor& weight, double eps, Tensor& saved, Tensor& rstd) {
  int64_t width = weight.numel();
  Tensor part = x.narrow(1, 0, num_slices * width);
  Tensor v = part.to(torch::kFloat).reshape({x.size(0), num_slices, width});  // [tokens, slices, width]
  Tensor r = torch::rsqrt(v.square().mean(-1) + eps);
  if (saved.defined()) saved.copy_(part);
  if (rstd.defined()) rstd.copy_(r);
  part.copy_((v * r.unsqueeze(-1) * weight).reshape({x.size(0), num_slices * width}));
}

void SliceNormBackward(Tensor grad, int64_t num_slices, const Tensor& weight, const Tensor& saved,
                       const Tensor& rstd) {
  int64_t width = weight.numel();
  std::vector<int64_t> sliced = {grad.size(0), num_slices, width};
  Tensor part = grad.narrow(1, 0, num_slices * width);
  Tensor g = NormGradient(part.to(torch::kFloat).reshape(sliced), saved.to(torch::kFloat).reshape(sliced), rstd, weight);
  part.copy_(g.reshape({grad.size(0), num_slices * width}));
}

void Rope(Tensor x, int64_t num_heads, int64_t head_dim, const Tensor& table, const Tensor& positions, bool inverse) {
  Tensor rows = table.index_select(0, positions.to(table.device()));  // [tokens, 2, head_dim / 2]
  Tensor cos = rows.select(1, 0).unsqueeze(1), sin = rows.select(1, 1).unsqueeze(1);
  if (inverse) sin = -sin;
  Tensor part = x.narrow(1, 0, num_heads * head_dim);
  Tensor v = part.to(torch::kFloat).reshape({x.size(0), num_heads, head_dim});
  Tensor a = v.narrow(2, 0, head_dim / 2), b = v.narrow(2, head_dim / 2, head_dim / 2);
  part.copy_(torch::cat({a * cos - b * sin, b * cos + a * sin}, 2).reshape({x.size(0), num_heads * head_dim}));
}

void GatedActivation(const Tensor& gate_up, Activation activation, Tensor& act) {
  int64_t ffn = gate_up.size(1) / 2;
  Tensor gate = gate_up.narrow(1, 0, ffn).to(torch::kFloat), up = gate_up.narrow(1, ffn, ffn).to(torch::kFloat);
  act.copy_((activation == Activation::kSilu ? at::silu(gate) : at::gelu(gate, "tanh")) * up);
}

void GatedActivationBackward(const Tensor& grad_act, const Tensor& gate_up, Activation activation,
                             Tensor& grad_gate_up) {
  int64_t ffn = gate_up.size(1) / 2;
  Tensor gate = gate_up.narrow(1, 0, ffn).to(torch::kFloat), up = gate_up.narrow(1, ffn, ffn).to(torch::kFloat);
  Tensor g = grad_act.to(torch::kFloat);
  bool silu = activation == Activation::kSilu;
  Tensor f = silu ? at::silu(gate) : at::gelu(gate, "tanh");
  Tensor grad_gate = silu ? at::silu_backward(g * up, gate) : at::gelu_backward(g * up, gate, "tanh");
  grad_gate_up.narrow(1, 0, ffn).copy_(grad_gate);
  grad_gate_up.narrow(1, ffn, ffn).copy_(g * f);
}

void AddLowRank(Tensor& y, int64_t first, const Tensor& h, int64_t h_first, const Tensor& m, float scale,
                int64_t row_begin, int64_t row_end) {
  Tensor target = y.slice(0, row_begin, row_end).narrow(1, first, m.size(1));
  Tensor product = at::mm(h.slice(0, row_begin, row_end).narrow(1, h_first, m.size(0)), m);
  target.copy_(target.to(torch::kFloat).add_(product, scale));
}

}  // namespace elrea::eager
