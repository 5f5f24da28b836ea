// The LoRA gradients of one segment in one group of projections, from what the passes left:
//
//   dA = grad_h^T x  [slots * rank, in],   dB of a slot = s grad_y^T h  [out, rank]
#pragma once

#include <torch/types.h>

#include <functional>

#include "lora/adapter.h"

namespace elrea {

// Rows of one segment, or of all of a pass.
struct SegmentRows {
  torch::Tensor x;       // [length, in] T
  torch::Tensor grad_y;  // [length, group out] T
  torch::Tensor h;       // [length, slots * rank] f32
  torch::Tensor grad_h;  // [length, slots * rank] f32
};

// On the CPU. Thread-safe.
class SegmentGradients {
 public:
  SegmentGradients(const AdapterLayout::Group& group, int64_t rank, float scale)
      : group_(group), rank_(rank), scale_(scale) {}

  using Sink = std::function<void(int64_t begin, int64_t count, const float* grad)>;
  // Calls `sink` once for A of all slots and once for B of each, in this order.
  void Emit(const SegmentRows& rows, const Sink& sink) const;

 private:
  void EmitBf16(const SegmentRows& rows, const Sink& sink) const;
  void EmitF32(const SegmentRows& rows, const Sink& sink) const;
  bool CanUseBf16(const SegmentRows& rows) const;

  const AdapterLayout::Group& group_;
  int64_t rank_;
  float scale_;
};

}  // namespace elrea
