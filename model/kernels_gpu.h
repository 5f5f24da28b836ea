// The functions of model/kernels.h for tensors that are not the fused CPU loops' (builds with ELREA_CUDA): on a CUDA
// device the kernels of model/kernels_cuda.h, elsewhere namespace eager.
#pragma once

#include "model/kernels.h"

namespace elrea::gpu {

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
// Positions may be on the device already.
void Rope(torch::Tensor x, int64_t num_heads, int64_t head_dim, const torch::Tensor& table,
          const torch::Tensor& positions, bool inverse);
void GatedActivation(const torch::Tensor& gate_up, Activation activation, torch::Tensor& act);
void GatedActivationBackward(const torch::Tensor& grad_act, const torch::Tensor& gate_up, Activation activation,
                             torch::Tensor& grad_gate_up);
void AddLowRank(torch::Tensor& y, int64_t first, const torch::Tensor& h, int64_t h_first, const torch::Tensor& m,
                float scale, int64_t row_begin, int64_t row_end);

}  // namespace elrea::gpu
