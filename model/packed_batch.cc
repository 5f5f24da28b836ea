#include "model/packed_batch.h"

namespace elrea {

PackedBatch PackRows(const std::vector<std::span<const int32_t>>& rows) {
  PackedBatch batch;
  batch.offsets.push_back(0);
  for (const auto& row : rows) batch.offsets.push_back(batch.offsets.back() + static_cast<int64_t>(row.size()));
  batch.ids = torch::empty({batch.num_tokens()}, torch::kLong);
  int64_t* ids = batch.ids.data_ptr<int64_t>();
  for (const auto& row : rows) ids = std::copy(row.begin(), row.end(), ids);
  return batch;
}

const torch::Tensor& PackedBatch::OffsetsOn(torch::Device device) const {
  if (!device_offsets.defined()) device_offsets = torch::tensor(offsets, torch::kInt).to(device, torch::kInt, /*non_blocking=*/true);
  return device_offsets;
}

}  // namespace elrea
