// One LoRA adapter: a pair (A [rank, in], B [out, rank]) for each adapted projection of each layer, delta W =
// alpha / rank * B A (Hu et al. 2022; method section 1). All parameters live in one flat f32 vector, so that moments,
// gradients and projections are flat too; A and B are views of it.
#pragma once

#include <torch/types.h>

#include <array>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/linear_delta.h"

namespace elrea {

struct AdapterConfig {
  int64_t rank = 8;
  double alpha = 32;
  // By Projection. kQkv says the same as kQ, kK and kV together, kGateUp as kGate and kUp (CompleteTargets).
  std::array<bool, kNumProjections> targets = {true, true, true, true, true, true, true, true, true};
  double scale() const { return alpha / static_cast<double>(rank); }
  bool Targets(Projection p) const { return targets[static_cast<int>(p)]; }
  bool operator==(const AdapterConfig&) const = default;
};

// Sets the projections that are several in one where all of those are set, and those where it is.
void CompleteTargets(std::array<bool, kNumProjections>& targets);

// The members of a group in a backbone, and the width of each projection's input and output.
const std::vector<Projection>& GroupMembers(const ModelConfig& config, LinearGroup group);
int64_t ProjectionIn(const ModelConfig& config, Projection projection);
int64_t ProjectionOut(const ModelConfig& config, Projection projection);

// Where each matrix lies in the flat vector: by layer, then group, then A of all members, then B of all members. The A
// matrices of a group are therefore one matrix [members * rank, in]. Const-shareable.
class AdapterLayout {
 public:
  // kInvalidInput when the adapter has a part only of what the backbone stores as one matrix.
  AdapterLayout(const ModelConfig& model, const AdapterConfig& adapter);

  struct Slot {
    Projection projection;
    int64_t in, out;
    int64_t out_first;  // first column of this member in the group's fused output
    int64_t b_offset;   // B [out, rank] in the flat vector
  };
  struct Group {
    int64_t a_offset = 0;  // A of all slots [slots * rank, in]
    int64_t in = 0;
    std::vector<Slot> slots;  // adapted members only
  };

  int64_t num_params() const { return num_params_; }
  int64_t rank() const { return rank_; }
  int64_t num_layers() const { return static_cast<int64_t>(groups_.size()); }
  const Group& group(int64_t layer, LinearGroup g) const { return groups_[layer][static_cast<int>(g)]; }

  // Views into a flat [num_params] tensor.
  torch::Tensor A(const torch::Tensor& flat, int64_t layer, LinearGroup g) const;  // [slots * rank, in]
  torch::Tensor A(const torch::Tensor& flat, int64_t layer, LinearGroup g, size_t slot) const;  // [rank, in]
  torch::Tensor B(const torch::Tensor& flat, int64_t layer, LinearGroup g, size_t slot) const;  // [out, rank]

 private:
  int64_t rank_, num_params_ = 0;
  std::vector<std::array<Group, kNumLinearGroups>> groups_;
};

struct Adapter {
  AdapterConfig config;
  torch::Tensor params;          // [num_params] f32
  std::string base_fingerprint;  // of the backbone it was trained on; empty when unknown
};

// A ~ U(-1/sqrt(in), 1/sqrt(in)) (PEFT's Kaiming initialisation), B = 0: a fresh adapter changes nothing.
Adapter MakeAdapter(const ModelConfig& model, const AdapterConfig& config, uint64_t seed);

}  // namespace elrea
