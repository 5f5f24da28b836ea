// The running sums of projected Adam forms of a pass on a CUDA device.
#pragma once

#include <torch/types.h>

#include <span>
#include <vector>

#include "features/projection_adam.h"

namespace elrea {

// What the gradient of one row of the pass is made into, with the moments of its checkpoint on the device.
struct DeviceAdamForm {
  AdamForm form;
  torch::Tensor m, v;  // [num_params] f32
};

class ProjectionSums {
 public:
  // Whether there are kernels for this device in this build.
  static bool Serves(torch::Device device);

  // REQUIRES: Serves(device). `rows`: one for each row of the pass. The projections must outlive the object.
  ProjectionSums(std::span<const RandomProjection> projections, const std::vector<DeviceAdamForm>& rows,
                 torch::Device device);

  // gradients [rows, count] f32: coordinates [begin, begin + count), as for RandomProjection::Accumulate. The sums are
  // those of ProjectAdam but for the order of the additions.
  void Add(int64_t begin, const torch::Tensor& gradients);

  // [rows, sum_size of all projections] f32 on the CPU.
  torch::Tensor Take() const { return sums_.cpu(); }

 private:
  std::span<const RandomProjection> projections_;
  std::vector<DeviceAdamForm> rows_;   // keeps the moments
  torch::Tensor terms_;                // [rows] cuda::AdamTerms
  std::vector<torch::Tensor> seeds_;   // of each projection
  torch::Tensor sums_;
};

}  // namespace elrea
