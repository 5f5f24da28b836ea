// The Adam form of many gradients and its random projection on a CUDA device. Plain pointers: no torch.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace elrea::cuda {

// What a gradient is made into with: the constants of AdamForm with the bias corrections divided in.
struct AdamTerms {
  const float* m;  // [num_inputs] on the device; may be null where c_m is 0
  const float* v;
  float c_m, c_g, c_v, c_g_squared, eps;
};

struct ProjectAdamArgs {
  const float* gradients;  // [rows, count]
  int64_t rows;
  int64_t begin, count;          // the coordinates; REQUIRES: multiples of 256, but count may end the vector
  const AdamTerms* terms;        // [rows]
  const uint64_t* stream_seeds;  // [repetitions]
  int32_t repetitions;
  int64_t d_proj;
  float* sums;  // [rows, sum_stride]
  int64_t sum_stride;
};

// sums[i] += R[:, begin : begin + count) AdamForm(gradients[i]), unscaled, for i < rows: as elrea::ProjectAdam but for the
// order of the additions, which is not fixed. All pointers are on the device.
cudaError_t ProjectAdam(const ProjectAdamArgs& args, cudaStream_t stream);

}  // namespace elrea::cuda
