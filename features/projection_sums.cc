#include "features/projection_sums.h"

#include <ATen/ATen.h>

#ifdef ELREA_CUDA
#include "features/projection_cuda.h"
#include "model/cuda_glue.h"
#endif

namespace elrea {

using torch::Tensor;

#ifdef ELREA_CUDA

bool ProjectionSums::Serves(torch::Device device) { return device.is_cuda(); }

ProjectionSums::ProjectionSums(std::span<const RandomProjection> projections, const std::vector<DeviceAdamForm>& rows,
                               torch::Device device)
    : projections_(projections), rows_(rows) {
  std::vector<cuda::AdamTerms> terms;
  for (const DeviceAdamForm& row : rows_) {
    const AdamCoefficients c(row.form);
    terms.push_back({CudaData<float>(row.m), CudaData<float>(row.v), c.m, c.g, c.v, c.g_squared, c.eps});
  }
  terms_ = BytesOnCuda(terms, device);
  int64_t size = 0;
  for (const RandomProjection& projection : projections_) {
    seeds_.push_back(BytesOnCuda(projection.stream_seeds(), device));
    size += projection.sum_size();
  }
  sums_ = torch::zeros({static_cast<int64_t>(rows_.size()), size}, torch::TensorOptions().device(device));
}

void ProjectionSums::Add(int64_t begin, const Tensor& gradients) {
  float* sums = CudaData<float>(sums_);
  const LaunchScope stream(gradients);
  for (size_t p = 0; p < projections_.size(); ++p) {
    C10_CUDA_CHECK(cuda::ProjectAdam({.gradients = CudaData<float>(gradients),
                                      .rows = gradients.size(0),
                                      .begin = begin,
                                      .count = gradients.size(1),
                                      .terms = reinterpret_cast<const cuda::AdamTerms*>(CudaData<uint8_t>(terms_)),
                                      .stream_seeds = reinterpret_cast<const uint64_t*>(CudaData<uint8_t>(seeds_[p])),
                                      .repetitions = static_cast<int32_t>(projections_[p].repetitions()),
                                      .d_proj = projections_[p].d_proj(),
                                      .sums = sums,
                                      .sum_stride = sums_.size(1)},
                                     stream));
    sums += projections_[p].sum_size();
  }
}

#else

bool ProjectionSums::Serves(torch::Device) { return false; }
ProjectionSums::ProjectionSums(std::span<const RandomProjection>, const std::vector<DeviceAdamForm>&, torch::Device) {}
void ProjectionSums::Add(int64_t, const Tensor&) {}

#endif

}  // namespace elrea
