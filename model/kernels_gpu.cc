// Tensors to the arguments of the CUDA launches. The layouts are those the fused CPU loops take: contiguous, but for
// the row strides of what may be a part of a wider matrix; anything else goes to ATen.
#ifdef ELREA_CUDA
#include "model/kernels_gpu.h"

#include "model/cuda_glue.h"
#include "model/kernels_cuda.h"

namespace elrea::gpu {

using torch::Tensor;

namespace {

bool UseCuda(const Tensor& x) { return x.is_cuda() && x.stride(-1) == 1; }

cuda::GateFunction FunctionOf(Activation activation) {
  return activation == Activation::kSilu ? cuda::GateFunction::kSilu : cuda::GateFunction::kGeluTanh;
}

}  // namespace

void AddAndNorm(Tensor& residual, const Tensor& addend, const Tensor& weight, double eps, Tensor& normed, Tensor& rstd,
                Tensor& saved) {
  if (!UseCuda(residual)) return eager::AddAndNorm(residual, addend, weight, eps, normed, rstd, saved);
  const LaunchScope stream(residual);
  ELREA_DISPATCH_CUDA(normed.scalar_type(), "AddAndNorm", {
    C10_CUDA_CHECK(cuda::AddAndNorm<T>({.residual = CudaData<float>(residual),
                                        .addend = CudaData<T>(addend),
                                        .weight = CudaData<float>(weight),
                                        .eps = static_cast<float>(eps),
                                        .normed = CudaData<T>(normed),
                                        .rstd = CudaData<float>(rstd),
                                        .saved = CudaData<T>(saved),
                                        .rows = residual.size(0),
                                        .width = residual.size(1)},
                                       stream));
  });
}

void ReplayNorm(const Tensor& saved, const Tensor& rstd, const Tensor& weight, Tensor& normed) {
  if (!UseCuda(saved)) return eager::ReplayNorm(saved, rstd, weight, normed);
  const LaunchScope stream(saved);
  ELREA_DISPATCH_CUDA(normed.scalar_type(), "ReplayNorm", {
    C10_CUDA_CHECK(cuda::ReplayNorm<T>({.saved = CudaData<T>(saved),
                                        .rstd = CudaData<float>(rstd),
                                        .weight = CudaData<float>(weight),
                                        .normed = CudaData<T>(normed),
                                        .rows = saved.size(0),
                                        .width = saved.size(1)},
                                       stream));
  });
}

void NormBackward(const Tensor& grad_normed, const Tensor& saved, const Tensor& rstd, const Tensor& weight,
                  Tensor& grad_residual) {
  if (!UseCuda(saved)) return eager::NormBackward(grad_normed, saved, rstd, weight, grad_residual);
  const LaunchScope stream(saved);
  ELREA_DISPATCH_CUDA(saved.scalar_type(), "NormBackward", {
    C10_CUDA_CHECK(cuda::NormBackward<T>({.grad_normed = CudaData<T>(grad_normed),
                                          .saved = CudaData<T>(saved),
                                          .rstd = CudaData<float>(rstd),
                                          .weight = CudaData<float>(weight),
                                          .grad_residual = CudaData<float>(grad_residual),
                                          .rows = saved.size(0),
                                          .width = saved.size(1)},
                                         stream));
  });
}

void SliceNorm(Tensor x, int64_t num_slices, const Tensor& weight, double eps, Tensor& saved, Tensor& rstd) {
  if (!UseCuda(x)) return eager::SliceNorm(x, num_slices, weight, eps, saved, rstd);
  const LaunchScope stream(x);
  ELREA_DISPATCH_CUDA(x.scalar_type(), "SliceNorm", {
    C10_CUDA_CHECK(cuda::SliceNorm<T>({.x = CudaData<T>(x),
                                       .stride = x.stride(0),
                                       .tokens = x.size(0),
                                       .slices = num_slices,
                                       .width = weight.numel(),
                                       .weight = CudaData<float>(weight),
                                       .eps = static_cast<float>(eps),
                                       .saved = CudaData<T>(saved),
                                       .rstd = CudaData<float>(rstd)},
                                      stream));
  });
}

void SliceNormBackward(Tensor grad, int64_t num_slices, const Tensor& weight, const Tensor& saved,
                       const Tensor& rstd) {
  if (!UseCuda(grad)) return eager::SliceNormBackward(grad, num_slices, weight, saved, rstd);
  const LaunchScope stream(grad);
  ELREA_DISPATCH_CUDA(grad.scalar_type(), "SliceNormBackward", {
    C10_CUDA_CHECK(cuda::SliceNormBackward<T>({.grad = CudaData<T>(grad),
                                               .stride = grad.stride(0),
                                               .tokens = grad.size(0),
                                               .slices = num_slices,
                                               .width = weight.numel(),
                                               .weight = CudaData<float>(weight),
                                               .saved = CudaData<T>(saved),
                                               .rstd = CudaData<float>(rstd)},
                                              stream));
  });
}

void Rope(Tensor x, int64_t num_heads, int64_t head_dim, const Tensor& table, const Tensor& positions, bool inverse) {
  if (!UseCuda(x)) return eager::Rope(x, num_heads, head_dim, table, positions, inverse);
  const Tensor on_device = positions.to(x.device(), /*non_blocking=*/true);  // staged before it returns
  const LaunchScope stream(x);
  ELREA_DISPATCH_CUDA(x.scalar_type(), "Rope", {
    C10_CUDA_CHECK(cuda::Rope<T>({.x = CudaData<T>(x),
                                  .stride = x.stride(0),
                                  .tokens = x.size(0),
                                  .heads = num_heads,
                                  .head_dim = head_dim,
                                  .table = CudaData<float>(table),
                                  .positions = CudaData<int64_t>(on_device),
                                  .sign = inverse ? -1.0f : 1.0f},
                                 stream));
  });
}

void GatedActivation(const Tensor& gate_up, Activation activation, Tensor& act) {
  if (!UseCuda(gate_up)) return eager::GatedActivation(gate_up, activation, act);
  const LaunchScope stream(gate_up);
  ELREA_DISPATCH_CUDA(gate_up.scalar_type(), "GatedActivation", {
    C10_CUDA_CHECK(cuda::GatedActivation<T>({.gate_up = CudaData<T>(gate_up),
                                             .function = FunctionOf(activation),
                                             .act = CudaData<T>(act),
                                             .rows = gate_up.size(0),
                                             .ffn = gate_up.size(1) / 2},
                                            stream));
  });
}

void GatedActivationBackward(const Tensor& grad_act, const Tensor& gate_up, Activation activation,
                             Tensor& grad_gate_up) {
  if (!UseCuda(gate_up)) return eager::GatedActivationBackward(grad_act, gate_up, activation, grad_gate_up);
  const LaunchScope stream(gate_up);
  ELREA_DISPATCH_CUDA(gate_up.scalar_type(), "GatedActivationBackward", {
    C10_CUDA_CHECK(cuda::GatedActivationBackward<T>({.grad_act = CudaData<T>(grad_act),
                                                     .gate_up = CudaData<T>(gate_up),
                                                     .function = FunctionOf(activation),
                                                     .grad_gate_up = CudaData<T>(grad_gate_up),
                                                     .rows = gate_up.size(0),
                                                     .ffn = gate_up.size(1) / 2},
                                                    stream));
  });
}

void AddLowRank(Tensor& y, int64_t first, const Tensor& h, int64_t h_first, const Tensor& m, float scale,
                int64_t row_begin, int64_t row_end) {
  if (!UseCuda(y)) return eager::AddLowRank(y, first, h, h_first, m, scale, row_begin, row_end);
  const LaunchScope stream(y);
  ELREA_DISPATCH_CUDA(y.scalar_type(), "AddLowRank", {
    C10_CUDA_CHECK(cuda::AddLowRank<T>({.y = CudaData<T>(y) + row_begin * y.stride(0) + first,
                                        .y_stride = y.stride(0),
                                        .h = CudaData<float>(h) + row_begin * h.stride(0) + h_first,
                                        .h_stride = h.stride(0),
                                        .m = CudaData<float>(m),
                                        .scale = scale,
                                        .rows = row_end - row_begin,
                                        .k = m.size(0),
                                        .out = m.size(1)},
                                       stream));
  });
}

}  // namespace elrea::gpu
#endif
