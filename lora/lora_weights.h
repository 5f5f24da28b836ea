// An adapter in the forms the passes multiply with, made once for inference and refreshed after each optimiser step in
// training. Const-shareable between changes.
#pragma once

#include <torch/types.h>

#include <array>
#include <memory>
#include <vector>

#include "lora/adapter.h"
#include "lora/gate.h"

namespace elrea {

class LoraWeights {
 public:
  // `dtype`, `device`: of the backbone's products. The layout must outlive the object.
  LoraWeights(const AdapterLayout& layout, const Adapter& adapter, torch::Dtype dtype, torch::Device device);

  // Takes new parameter values [num_params] f32.
  void Refresh(const torch::Tensor& params);

  struct Group {
    torch::Tensor a;                     // [slots * rank, in] T
    torch::Tensor a_f32;                 // [slots * rank, in] f32
    std::vector<torch::Tensor> b;        // per slot [out, rank] T
    std::vector<torch::Tensor> b_t;      // per slot [rank, out] T contiguous
    std::vector<torch::Tensor> b_t_f32;  // per slot [rank, out] f32 contiguous
  };
  const AdapterLayout& layout() const { return *layout_; }
  const Group& group(int64_t layer, LinearGroup g) const { return groups_[layer][static_cast<int>(g)]; }
  float scale() const { return scale_; }
  torch::Device device() const { return device_; }

  // Weighs the parts of a joined adapter (lora/gate.h) in LoraMix and GateTrainer, which alone know gates: the decode
  // engine refuses such an adapter, and nobody trains or differentiates one. Null: none.
  void SetGate(std::unique_ptr<const Gate> gate) { gate_ = std::move(gate); }
  const Gate* gate() const { return gate_.get(); }

 private:
  // On other devices than the CPU, where a launch costs more than copying a small matrix: all matrices of a form in one
  // tensor, made by one gather each.
  struct Together {
    torch::Tensor values;                // [num_params] T
    torch::Tensor a_f32, b_t_f32, b_t;   // the groups' matrices one after the other
    torch::Tensor a_index, b_t_index;    // i64: the parameter that each element is
  };
  void RefreshTogether(const torch::Tensor& params);
  void MakeViews();

  const AdapterLayout* layout_;
  float scale_;
  torch::Dtype dtype_;
  torch::Device device_;
  std::vector<std::array<Group, kNumLinearGroups>> groups_;
  std::unique_ptr<Together> together_;  // null on the CPU
  std::unique_ptr<const Gate> gate_;
};

}  // namespace elrea
