// The fused steps of model/kernels.h as CUDA launches on bare pointers of device memory: what each computes is said
// there. T: float or __nv_bfloat16. All matrices are contiguous but for the strides given, in elements. A launch does
// not wait for its result; the error returned is the launch's own.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace elrea::cuda {

template <typename T>
struct AddAndNormArgs {
  float* residual;      // [rows, width]
  const T* addend;      // [rows, width] or null
  const float* weight;  // [width]
  float eps;
  T* normed;    // [rows, width]
  float* rstd;  // [rows]
  T* saved;     // [rows, width] or null
  int64_t rows, width;
};
template <typename T>
cudaError_t AddAndNorm(const AddAndNormArgs<T>& args, cudaStream_t stream);

template <typename T>
struct ReplayNormArgs {
  const T* saved;       // [rows, width]
  const float* rstd;    // [rows]
  const float* weight;  // [width]
  T* normed;            // [rows, width]
  int64_t rows, width;
};
template <typename T>
cudaError_t ReplayNorm(const ReplayNormArgs<T>& args, cudaStream_t stream);

template <typename T>
struct NormBackwardArgs {
  const T* grad_normed;  // [rows, width]
  const T* saved;        // [rows, width]
  const float* rstd;     // [rows]
  const float* weight;   // [width]
  float* grad_residual;  // [rows, width]
  int64_t rows, width;
};
template <typename T>
cudaError_t NormBackward(const NormBackwardArgs<T>& args, cudaStream_t stream);

template <typename T>
struct SliceNormArgs {
  T* x;  // [tokens, slices * width of stride]
  int64_t stride, tokens, slices, width;
  const float* weight;  // [width]
  float eps;
  T* saved;     // [tokens, slices * width] or null
  float* rstd;  // [tokens, slices] or null
};
template <typename T>
cudaError_t SliceNorm(const SliceNormArgs<T>& args, cudaStream_t stream);

template <typename T>
struct SliceNormBackwardArgs {
  T* grad;  // [tokens, slices * width of stride]
  int64_t stride, tokens, slices, width;
  const float* weight;  // [width]
  const T* saved;       // [tokens, slices * width]
  const float* rstd;    // [tokens, slices]
};
template <typename T>
cudaError_t SliceNormBackward(const SliceNormBackwardArgs<T>& args, cudaStream_t stream);

template <typename T>
struct RopeArgs {
  T* x;  // [tokens, heads * head_dim of stride]
  int64_t stride, tokens, heads, head_dim;
  const float* table;        // [positions, 2, head_dim / 2]
  const int64_t* positions;  // [tokens]
  float sign;                // of the sines: -1 turns back
};
template <typename T>
cudaError_t Rope(const RopeArgs<T>& args, cudaStream_t stream);

enum class GateFunction { kSilu, kGeluTanh };

template <typename T>
struct GatedActivationArgs {
  const T* gate_up;  // [rows, 2 * ffn]
  GateFunction function;
  T* act;  // [rows, ffn]
  int64_t rows, ffn;
};
template <typename T>
cudaError_t GatedActivation(const GatedActivationArgs<T>& args, cudaStream_t stream);

template <typename T>
struct GatedActivationBackwardArgs {
  const T* grad_act;  // [rows, ffn]
  const T* gate_up;   // [rows, 2 * ffn]
  GateFunction function;
  T* grad_gate_up;  // [rows, 2 * ffn], may be gate_up
  int64_t rows, ffn;
};
template <typename T>
cudaError_t GatedActivationBackward(const GatedActivationBackwardArgs<T>& args, cudaStream_t stream);

template <typename T>
struct AddLowRankArgs {
  T* y;  // [rows, out of y_stride]
  int64_t y_stride;
  const float* h;  // [rows, k of h_stride]
  int64_t h_stride;
  const float* m;  // [k, out]
  float scale;
  int64_t rows, k, out;
};
template <typename T>
cudaError_t AddLowRank(const AddLowRankArgs<T>& args, cudaStream_t stream);

}  // namespace elrea::cuda
