// Per-example gradients of the LoRA parameters from one backward pass over a packed batch (method section 2). For each
// pair, a row's gradient is a small product of its layer inputs and output gradients, so many rows cost one pass:
//
//   dA(i) = s (dy_i B)^T x_i,   dB(i) = s dy_i^T (x_i A^T)        over the tokens of row i only
//
// The gradients are handed out piece by piece and never stored whole; a row's pieces do not depend on its neighbours.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "features/batched_gradients.h"
#include "lora/adapter_runs.h"

namespace elrea {

// grad [count] f32: coordinates [begin, begin + count) of the flat gradient of segment `segment`. Called from worker
// threads: concurrently for different segments, in a fixed order for one.
using GradientSink = std::function<void(int64_t segment, int64_t begin, int64_t count, const float* grad)>;

// The same piece of all segments at once: gradients [segments, count] f32 on the device of the pass.
using BatchSink = std::function<void(int64_t begin, const torch::Tensor& gradients)>;

// Single-thread use; its own work is parallel over segments on the CPU, and batched over them on other devices.
class ExampleGradients : public TrainableDelta {
 public:
  // lora_of_segment[s]: the adapter that segment s runs under; all have the layout of the first. Neighbours with the same
  // adapter share their products. The adapters must outlive the passes.
  ExampleGradients(std::vector<const LoraWeights*> lora_of_segment, GradientSink sink);
  // For passes on another device than the CPU.
  ExampleGradients(std::vector<const LoraWeights*> lora_of_segment, BatchSink sink);

  // Between the passes: what was passed before in front of each segment (null: nothing), as ForwardTape::beginnings.
  void SetBeginnings(std::vector<const ExampleGradients*> beginnings) { beginnings_ = std::move(beginnings); }

  void AddForward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                  torch::Tensor& y) override;
  void AddBackward(int64_t layer, LinearGroup group, const PackedBatch& batch, const torch::Tensor& x,
                   const torch::Tensor& grad_y, torch::Tensor& grad_x) override;

 private:
  AdapterRuns Runs(const PackedBatch& batch) const;
  const AdapterLayout& layout() const { return lora_of_segment_[0]->layout(); }
  // Hidden rows of a layer, the forward pass's or put together with those of the beginnings; gone afterwards.
  torch::Tensor TakeHidden(int64_t layer, LinearGroup group, const PackedBatch& batch);
  void Emit(const AdapterLayout::Group& slots, const PackedBatch& batch, const SegmentRows& rows);

  std::vector<const LoraWeights*> lora_of_segment_;
  GradientSink sink_;
  BatchSink batch_sink_;
  std::optional<BatchedGradients> batched_;  // made by the first group of a pass that is not on the CPU
  std::vector<std::array<torch::Tensor, kNumLinearGroups>> hidden_;
  std::vector<const ExampleGradients*> beginnings_;
};

}  // namespace elrea
