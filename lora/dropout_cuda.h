// Dropout of rows (lora/dropout.h) as one CUDA launch.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace elrea::cuda {

// out = the masked rows of x, or with `add` out += them. T: float or __nv_bfloat16.
template <typename T>
struct DropoutArgs {
  const T* x;  // [rows, width]
  T* out;      // [rows, width], may be x
  int64_t rows, width;
  uint64_t key, first_place;  // row r draws the mask of first_place + r
  uint32_t threshold;
  float scale;
  bool add;
};
template <typename T>
cudaError_t Dropout(const DropoutArgs<T>& args, cudaStream_t stream);

}  // namespace elrea::cuda
