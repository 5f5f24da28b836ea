#include "features/batched_gradients.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace elrea {

using torch::Tensor;

namespace {

// a^T b of each segment, summed in f32: [segments, longest, m], [segments, longest, n] -> [segments, m, n] f32.
Tensor TransposedProducts(const Tensor& a, const Tensor& b) {
  if (a.is_cuda() && a.scalar_type() == torch::kBFloat16) return at::bmm(a.transpose(1, 2), b, torch::kFloat);
  return at::bmm(a.to(torch::kFloat).transpose(1, 2), b.to(torch::kFloat));
}

}  // namespace

BatchedGradients::BatchedGradients(const PackedBatch& batch, torch::Device device)
    : segments_(batch.num_segments()), longest_(0) {
  for (int64_t i = 0; i < segments_; ++i) longest_ = std::max(longest_, batch.length(i));
  Tensor index = torch::zeros({segments_, longest_}, torch::kLong), mask = torch::zeros({segments_, longest_, 1}, torch::kFloat);
  for (int64_t i = 0; i < segments_; ++i) {
    index[i].narrow(0, 0, batch.length(i)).copy_(torch::arange(batch.begin(i), batch.begin(i) + batch.length(i)));
    mask[i].narrow(0, 0, batch.length(i)).fill_(1);
  }
  index_ = index.view({-1}).to(device);
  mask_ = mask.to(device);
}

Tensor BatchedGradients::Pad(const Tensor& rows) const {
  return rows.index_select(0, index_).view({segments_, longest_, rows.size(1)});
}

// One factor of each product is zero where padded.
void BatchedGradients::Emit(const AdapterLayout::Group& group, int64_t rank, float scale, const SegmentRows& rows,
                            const Sink& sink) const {
  const auto dtype = rows.x.scalar_type();
  const Tensor x = Pad(rows.x), grad_y = Pad(rows.grad_y);
  const Tensor h = Pad(rows.h).mul_(mask_).to(dtype), grad_h = Pad(rows.grad_h).mul_(mask_).to(dtype);
  sink(group.a_offset, TransposedProducts(grad_h, x).flatten(1));
  for (size_t s = 0; s < group.slots.size(); ++s) {
    const AdapterLayout::Slot& slot = group.slots[s];
    const Tensor grad_b = TransposedProducts(grad_y.narrow(2, slot.out_first, slot.out),
                                             h.narrow(2, static_cast<int64_t>(s) * rank, rank));
    sink(slot.b_offset, grad_b.flatten(1).mul_(scale));
  }
}

}  // namespace elrea
