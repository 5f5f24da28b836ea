// The LoRA gradients of all segments of a pass at once, for devices where a launch costs more than padding: the rows of
// each segment are padded to the longest, and each small product is one batched product.
#pragma once

#include <functional>

#include "features/segment_gradients.h"
#include "model/packed_batch.h"

namespace elrea {

class BatchedGradients {
 public:
  BatchedGradients(const PackedBatch& batch, torch::Device device);

  // gradients [segments, count] f32: coordinates [begin, begin + count) of each segment's flat gradient.
  using Sink = std::function<void(int64_t begin, const torch::Tensor& gradients)>;
  // As SegmentGradients::Emit, of all rows of the pass.
  void Emit(const AdapterLayout::Group& group, int64_t rank, float scale, const SegmentRows& rows, const Sink& sink) const;

 private:
  torch::Tensor Pad(const torch::Tensor& rows) const;  // [tokens, width] -> [segments, longest, width]

  int64_t segments_, longest_;
  torch::Tensor index_;  // [segments * longest] i64: the row of each place; that of a padded place is arbitrary
  torch::Tensor mask_;   // [segments, longest, 1] f32: 0 where padded
};

}  // namespace elrea
