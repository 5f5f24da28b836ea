// The low-rank update of single rows, each under its own adapter, in one parallel loop or launch: the decoding path of
// LoraMix.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "lora/lora_weights.h"

namespace elrea {

struct LowRankRow {
  const LoraWeights* lora;
  int64_t row;
  bool operator==(const LowRankRow&) const = default;
};

// CPU: contiguous rows, widths that are multiples of 16. CUDA, where that is built: contiguous rows.
bool CanAddLowRankRows(const LoraWeights& lora, const torch::Tensor& x, const torch::Tensor& y);

// Some rows of a pass, none twice, and their adapters, which must neither go nor change meanwhile: the same for all of
// its layers, so a GPU is told of them once. Const-shareable.
class LowRankRows {
 public:
  // `device`: of the x and y to come.
  LowRankRows(std::vector<LowRankRow> rows, torch::Device device);

  const std::vector<LowRankRow>& rows() const { return rows_; }
  // y[row] += scale B (A x[row]) for each row. x [tokens, in] T, y [tokens, group out] T. REQUIRES: CanAddLowRankRows.
  void Add(int64_t layer, LinearGroup group, const torch::Tensor& x, torch::Tensor& y) const;

 private:
  void MakeTable(torch::Device device);
  void AddOnCuda(int64_t layer, LinearGroup group, const torch::Tensor& x, torch::Tensor& y) const;

  std::vector<LowRankRow> rows_;
  // On CUDA: the pointers of each adapter, by layer, group and adapter, and for each row its number and its adapter's.
  torch::Tensor entries_, places_;   // [bytes] u8
  int64_t num_adapters_ = 0;
  std::vector<int64_t> max_hidden_;  // by layer and group, the most values of h
};

}  // namespace elrea
