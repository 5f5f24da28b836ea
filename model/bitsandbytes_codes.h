// Matrices in the codes of bitsandbytes, in memory; see bitsandbytes.h for how checkpoints hold them.
#pragma once

#include <array>

#include "model/matrix_codes.h"

namespace elrea {

// Four bits a weight: w = map[code] * absmax of its block of `block` weights, counted through the rows; the scales are
// f32, or codes of eight bits again (double quantisation): absmax = nested_map[code] * nested_absmax + offset.
// Source: QLoRA (arXiv:2305.14314), section 3; bitsandbytes' QuantState.
struct FourBitParts {
  int64_t block = 64, nested_block = 0;   // nested_block 0: absmax is f32
  std::array<float, 16> map = {};
  torch::Tensor codes;                    // [ceil(n / 2)] u8, the first of a pair in the high half
  torch::Tensor absmax;                   // [ceil(n / block)] f32, or u8 with nested_block
  torch::Tensor nested_map;               // [256] f32
  torch::Tensor nested_absmax;            // [ceil(blocks / nested_block)] f32
  float offset = 0;
};

class FourBitCodes : public HostMatrixCodes {
 public:
  FourBitCodes(int64_t rows, int64_t cols, FourBitParts parts);

  const FourBitParts& parts() const { return parts_; }
  torch::Tensor Scales() const;  // of each weight [rows, cols] f32
  int64_t num_bytes() const override;
  void ReadRows(int64_t begin, int64_t end, float* values) const override;
  PartCodes InParts() const override;

 private:
  float Scale(int64_t block) const;

  FourBitParts parts_;
};

// Eight bits a weight: w = code * scale of its row / 127. Source: bitsandbytes' Linear8bitLt.
class EightBitCodes : public HostMatrixCodes {
 public:
  // codes [rows, cols] i8, scales [rows] f32: the largest magnitude of each row ("SCB").
  EightBitCodes(torch::Tensor codes, torch::Tensor scales);

  const torch::Tensor& codes() const { return codes_; }
  const torch::Tensor& scales() const { return scales_; }
  int64_t num_bytes() const override;
  void ReadRows(int64_t begin, int64_t end, float* values) const override;
  PartCodes InParts() const override;

 private:
  torch::Tensor codes_, scales_;
};

}  // namespace elrea
