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

struct ProjectionTerms {
  const uint64_t* stream_seeds;  // [repetitions] on the device
  int32_t repetitions;
  int64_t d_proj;
};

// sums[i] += R[:, begin : begin + count) AdamForm(gradients[i]), unscaled, for i < rows: as ProjectAdam but for the order
// of the additions, which is not fixed. gradients [rows, count] f32, sums [rows, sum_stride] f32, terms [rows]; all on the
// device. REQUIRES: begin a multiple of 256, and count too unless the piece ends the vector.
void ProjectAdam(const float* gradients, int64_t rows, int64_t begin, int64_t count, const AdamTerms* terms,
                 const ProjectionTerms& projection, float* sums, int64_t sum_stride, cudaStream_t stream);

}  // namespace elrea::cuda
