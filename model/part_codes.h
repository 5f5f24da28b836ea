// Codes of any quantised format in one form, which operators of any device dequantise: what a quantised backbone holds
// on a GPU.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "model/matrix_codes.h"

namespace elrea {

// One number for each part of a matrix: as it is, or in codes of eight bits (double quantisation) as
// map[code] * block_scales[part / block] + offset.
struct PartScales {
  torch::Tensor values;        // [parts] f32 or f16, or u8 with a block
  int64_t block = 0;           // 0: values are the scales
  torch::Tensor map;           // [256] f32
  torch::Tensor block_scales;  // [ceil(parts / block)] f32
  float offset = 0;

  // [end - begin] f32.
  torch::Tensor Read(int64_t begin, int64_t end) const;
};

// A matrix counted through its rows and cut into parts of `part` weights, the last of which may be shorter:
// w = map[code] * scale of its part (* factor) (+ minimum of its part), each product and sum rounded to f32.
struct PartCodes {
  int64_t part = 0;
  int64_t bits = 0;       // of a code: 4, two of them a byte, the first in the high half; or 8
  torch::Tensor codes;    // [ceil(count * bits / 8)] u8
  torch::Tensor map;      // [256, 8 / bits] f32: what the codes of a byte stand for
  PartScales scales;
  torch::Tensor minima;   // [parts] f32 or f16; undefined: none
  float factor = 1;

  // `map` of codes that stand for values[code]: 16 or 256 of them.
  static torch::Tensor MakeMap(const std::vector<float>& values);

  PartCodes To(torch::Device device) const;
  int64_t num_bytes() const;
  // Weights [begin, end) in f32 on the codes' device, by its operators.
  torch::Tensor Read(int64_t begin, int64_t end) const;
};

// [rows, cols] on any device. What reading takes beside the result is bounded, however large the matrix is.
class DeviceMatrixCodes : public MatrixCodes {
 public:
  DeviceMatrixCodes(int64_t rows, int64_t cols, PartCodes parts);

  int64_t num_bytes() const override { return parts_.num_bytes(); }
  torch::Device device() const override { return parts_.codes.device(); }
  std::shared_ptr<const MatrixCodes> To(torch::Device device) const override;
  void ReadInto(int64_t first, torch::Tensor& values) const override;

 private:
  PartCodes parts_;
};

}  // namespace elrea
