#include "features/projection_sums.h"

#include <ATen/ATen.h>

#ifdef ELREA_CUDA
#include <c10/cuda/CUDAStream.h>

#include "features/projection_cuda.h"
#endif

namespace elrea {

using torch::Tensor;

#ifdef ELREA_CUDA

namespace {

template <typename T>
Tensor BytesOnDevice(const std::vector<T>& values, torch::Device device) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  return torch::from_blob(const_cast<T*>(values.data()), {bytes}, torch::kByte).to(device);
}

}  // namespace

bool ProjectionSums::Serves(torch::Device device) { return device.is_cuda(); }

ProjectionSums::ProjectionSums(std::span<const RandomProjection> projections, const std::vector<DeviceAdamForm>& rows,
                               torch::Device device)
    : projections_(projections), rows_(rows) {
  std::vector<cuda::AdamTerms> terms;
  for (const DeviceAdamForm& row : rows_) {
    const AdamCoefficients c(row.form);
    terms.push_back({row.m.data_ptr<float>(), row.v.data_ptr<float>(), c.m, c.g, c.v, c.g_squared, c.eps});
  }
  terms_ = BytesOnDevice(terms, device);
  int64_t size = 0;
  for (const RandomProjection& projection : projections_) {
    seeds_.push_back(BytesOnDevice(projection.stream_seeds(), device));
    size += projection.sum_size();
  }
  sums_ = torch::zeros({static_cast<int64_t>(rows_.size()), size}, torch::TensorOptions().device(device));
}

void ProjectionSums::Add(int64_t begin, const Tensor& gradients) {
  float* sums = sums_.data_ptr<float>();
  for (size_t p = 0; p < projections_.size(); ++p) {
    const cuda::ProjectionTerms projection = {reinterpret_cast<const uint64_t*>(seeds_[p].data_ptr<uint8_t>()),
                                              static_cast<int32_t>(projections_[p].repetitions()), projections_[p].d_proj()};
    cuda::ProjectAdam(gradients.data_ptr<float>(), gradients.size(0), begin, gradients.size(1),
                      reinterpret_cast<const cuda::AdamTerms*>(terms_.data_ptr<uint8_t>()), projection, sums,
                      sums_.size(1), c10::cuda::getCurrentCUDAStream());
    sums += projections_[p].sum_size();
  }
}

#else

bool ProjectionSums::Serves(torch::Device) { return false; }
ProjectionSums::ProjectionSums(std::span<const RandomProjection>, const std::vector<DeviceAdamForm>&, torch::Device) {}
void ProjectionSums::Add(int64_t, const Tensor&) {}

#endif

}  // namespace elrea
