// The loss of rows of logits (model/token_loss.h) as one CUDA launch.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace elrea::cuda {

// nll[r] = log-sum-exp of logits[r] - logits[r, targets[r]]; with_grad: the logits become weights[r] * (softmax -
// onehot). All in device memory. T: float or __nv_bfloat16.
template <typename T>
struct LossRowsArgs {
  T* logits;               // [rows, vocab]
  const int64_t* targets;  // [rows], each in [0, vocab)
  const float* weights;    // [rows]
  float* nll;              // [rows]
  int64_t rows, vocab;
  bool with_grad;
};
template <typename T>
cudaError_t LossRows(const LossRowsArgs<T>& args, cudaStream_t stream);

}  // namespace elrea::cuda
