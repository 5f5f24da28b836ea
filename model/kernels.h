// Fused element-wise steps of a decoder block, forward and backward. On the CPU they are vectorised and parallel over
// tokens; on other devices (and as the tests' twins) the functions of namespace eager do the same with ATen.
//
// Shapes: x, residual [tokens, dim]; T is the compute dtype (f32 or bf16); the residual stream is always f32.
#pragma once

#include <torch/types.h>

#include "model/config.h"

namespace elrea {

// residual += addend (skipped when undefined); normed = residual * rstd * weight, rstd = 1/sqrt(mean(residual^2)+eps).
// `saved`, when defined [tokens, dim] T, receives the residual for the backward pass.
// residual [tokens, dim] f32; addend [tokens, dim] T; weight [dim] f32; normed [tokens, dim] T; rstd [tokens] f32.
void AddAndNorm(torch::Tensor& residual, const torch::Tensor& addend, const torch::Tensor& weight, double eps,
                torch::Tensor& normed, torch::Tensor& rstd, torch::Tensor& saved);

// normed = saved * rstd * weight: the forward result again, from what was kept.
void ReplayNorm(const torch::Tensor& saved, const torch::Tensor& rstd, const torch::Tensor& weight,
                torch::Tensor& normed);

// grad_residual += gradient of AddAndNorm's normed with respect to the residual.
// grad_normed [tokens, dim] T; saved [tokens, dim] T; grad_residual [tokens, dim] f32.
void NormBackward(const torch::Tensor& grad_normed, const torch::Tensor& saved, const torch::Tensor& rstd,
                  const torch::Tensor& weight, torch::Tensor& grad_residual);

// Norm of consecutive `width`-wide slices of each row's first `num_slices * width` columns, in place (q/k norm with
// width = head_dim; post-norms with one slice of width dim). x [tokens, >= num_slices * width] T, row stride any.
// `saved` [tokens, num_slices * width] T and rstd [tokens, num_slices] f32 are filled when defined.
void SliceNorm(torch::Tensor x, int64_t num_slices, const torch::Tensor& weight, double eps, torch::Tensor& saved,
               torch::Tensor& rstd);
// In place: grad (of the output, same layout as x) becomes the gradient of the input.
void SliceNormBackward(torch::Tensor grad, int64_t num_slices, const torch::Tensor& weight,
                       const torch::Tensor& saved, const torch::Tensor& rstd);

// Rotary embedding of `num_heads` heads starting at column 0 of x [tokens, >= num_heads * head_dim] T, in place,
// half-split order: (a, b) -> (a cos - b sin, b cos + a sin); `inverse` turns back (the backward pass).
// table [positions, 2, head_dim / 2] f32 (cos, sin); positions [tokens] i64 on the device of x.
void Rope(torch::Tensor x, int64_t num_heads, int64_t head_dim, const torch::Tensor& table,
          const torch::Tensor& positions, bool inverse);

// act = f(gate) * up. gate_up [tokens, 2 * ffn] T (gate first); act [tokens, ffn] T.
void GatedActivation(const torch::Tensor& gate_up, Activation activation, torch::Tensor& act);
// grad_gate_up in the layout of gate_up, written over gate_up's memory when they are the same tensor.
void GatedActivationBackward(const torch::Tensor& grad_act, const torch::Tensor& gate_up, Activation activation,
                             torch::Tensor& grad_gate_up);

// y[:, first : first + out] += scale * h[:, h_first : h_first + k] * m, the small product of a low-rank update.
// h [tokens, >= h_first + k] f32; m [k, out] f32 contiguous; y [tokens, stride] T. Rows [row_begin, row_end) only.
void AddLowRank(torch::Tensor& y, int64_t first, const torch::Tensor& h, int64_t h_first, const torch::Tensor& m,
                float scale, int64_t row_begin, int64_t row_end);

namespace eager {
void AddAndNorm(torch::Tensor& residual, const torch::Tensor& addend, const torch::Tensor& weight, double eps,
                torch::Tensor& normed, torch::Tensor& rstd, torch::Tensor& saved);
void ReplayNorm(const torch::Tensor& saved, const torch::Tensor& rstd, const torch::Tensor& weight,
                torch::Tensor& normed);
void NormBackward(const torch::Tensor& grad_normed, const torch::Tensor& saved, const torch::Tensor& rstd,
                  const torch::Tensor& weight, torch::Tensor& grad_residual);
void SliceNorm(torch::Tensor x, int64_t num_slices, const torch::Tensor& weight, double eps, torch::Tensor& saved,
               torch::Tensor& rstd);
void SliceNormBackward(torch::Tensor grad, int64_t num_slices, const torch::Tensor& weight,
                       const torch::Tensor& saved, const torch::Tensor& rstd);
void Rope(torch::Tensor x, int64_t num_heads, int64_t head_dim, const torch::Tensor& table,
          const torch::Tensor& positions, bool inverse);
void GatedActivation(const torch::Tensor& gate_up, Activation activation, torch::Tensor& act);
void GatedActivationBackward(const torch::Tensor& grad_act, const torch::Tensor& gate_up, Activation activation,
                             torch::Tensor& grad_gate_up);
void AddLowRank(torch::Tensor& y, int64_t first, const torch::Tensor& h, int64_t h_first, const torch::Tensor& m,
                float scale, int64_t row_begin, int64_t row_end);
}  // namespace eager

}  // namespace elrea
